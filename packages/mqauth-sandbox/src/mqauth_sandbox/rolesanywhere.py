"""IAM Roles Anywhere for one account, strict enough to test signers against.

It answers `POST /sessions` (`CreateSession`): checks the signature, the certificate and its chain,
time, scope and ARNs as the service does, and opens sessions that the sandbox's STS endpoint then
accepts. The wording of its refusals is the service's where that is known.

Source: IAM Roles Anywhere User Guide, "Authentication" and "Trust model"; API Reference.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from mqauth_sandbox.accesskeys import AccessKey, Caller, unique_id
from mqauth_sandbox.awsquery import iso_time
from mqauth_sandbox.faults import Endpoint, FaultMode
from mqauth_sandbox.http import Request, Response, json_response
from mqauth_sandbox.issuer import EXPIRED_FOR, Issuer
from mqauth_sandbox.rolesanywhere_errors import (
    RolesAnywhereError,
    denied,
    not_there,
    throttled,
)
from mqauth_sandbox.rolesanywhere_request import CreateSession, check_protocol
from mqauth_sandbox.rolesanywhere_signature import (
    Authorization,
    canonical_request,
    check_scope,
    check_signature,
    check_signed_headers,
    parse_authorization,
    string_to_sign,
)
from mqauth_sandbox.rolesanywhere_trust import (
    certificate_from_header,
    chain_from_header,
    check_chain,
    check_end_entity,
)
from mqauth_sandbox.sts import StsEndpoint
from mqauth_sandbox.tls import create_certificates

_RATE_WINDOW = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateSessionCall:
    """One call to the endpoint.

    Args:
        at: When it came, on the monotonic clock (`time.monotonic()`).
        request: What came.
        outcome: `ok`, the error code of the service, or the fault mode that hit it.
        message: What the service said with an error code.
    """

    at: float
    request: Request
    outcome: str
    message: str | None = None

    @property
    def canonical(self) -> str:
        """The canonical request, as the signed headers it names make it."""
        return canonical_request(self.request, self.authorization.signed_headers)

    @property
    def to_sign(self) -> str:
        """What the key signed."""
        return string_to_sign(
            self.authorization, self.request.headers.get("X-Amz-Date", ""), self.canonical
        )

    @property
    def authorization(self) -> Authorization:
        """The parts of the `Authorization` header."""
        return parse_authorization(self.request.headers.get("Authorization"))


class RolesAnywhereEndpoint(Issuer[CreateSessionCall]):
    """A regional endpoint with one trust anchor, one profile and one role.

    Args:
        certificate: PEM file with the server's certificate (for `localhost`) and its chain.
        private_key: PEM file with the certificate's key.
        sts: The account's STS endpoint, which accepts the sessions opened here.
        region: Region it stands in; signatures and ARNs of others are refused.
        partition: First part of its ARNs, such as `aws` or `aws-cn`.
        ca_file: Certificate of the authority behind `certificate`, for `arguments`' users.
        port: Port to use; 0 for a free one, kept over restarts.

    Example:
        pki = Pki()
        endpoint.trust(pki.root)
        files = pki.issue("ec-p256", depth=2).write(tmp_path)
        subprocess.run(["credproc", "--endpoint", endpoint.url, *endpoint.arguments(), ...])

    Attributes:
        sts: The account's STS endpoint.
        ca_file: What clients verify the server against.
        region: Region it stands in.
        partition: First part of its ARNs.
        account_id: Account of the ARNs.
        anchors: The certificates that the trust anchor holds.
        trust_anchor_enabled: Whether the trust anchor is; a disabled one opens no sessions.
        profile_enabled: Whether the profile is.
        accept_role_session_name: Whether the profile lets clients name their sessions.
        profile_duration: Seconds that the profile lets sessions last at most.
        session_lifetime: Seconds that sessions really live, whatever was asked for; None to follow
            the request. The service knows none under 15 minutes; tests do.
        rate_limit: Calls a second that it takes before it throttles; None for no limit. The
            service's quota is 10.
        refusal: An error that every call is answered with; None to look at calls.
        faults: How it misbehaves.
    """

    def __init__(
        self,
        *,
        certificate: Path,
        private_key: Path,
        sts: StsEndpoint,
        ca_file: Path,
        region: str = "eu-west-1",
        partition: str = "aws",
        port: int = 0,
    ) -> None:
        """Trust nobody yet; nothing listens before `start`."""
        super().__init__(certificate=certificate, private_key=private_key, algorithms=(), port=port)
        self.sts = sts
        self.ca_file = ca_file
        self.account_id = sts.account_id
        self._ids = {"trust-anchor": str(uuid.uuid4()), "profile": str(uuid.uuid4())}
        self._role_id = unique_id("AROA")
        self._home = region, partition
        self.reset()

    def reset(self) -> None:
        """Be as at first: well, in the first region, trusting nobody; the log stays."""
        self.faults.reset()
        self.region, self.partition = self._home
        self.anchors: Sequence[x509.Certificate] = ()
        self.trust_anchor_enabled = True
        self.profile_enabled = True
        self.accept_role_session_name = False
        self.profile_duration = 43200
        self.session_lifetime: float | None = None
        self.rate_limit: float | None = None
        self.refusal: RolesAnywhereError | None = None
        self._recent: deque[float] = deque()

    @property
    def url(self) -> str:
        """What `--endpoint` takes."""
        return self._server.url

    @property
    def trust_anchor_arn(self) -> str:
        """ARN of the trust anchor."""
        return self._arn("trust-anchor")

    @property
    def profile_arn(self) -> str:
        """ARN of the profile."""
        return self._arn("profile")

    @property
    def role_arn(self) -> str:
        """ARN of the role that sessions are of: the STS endpoint's, in this partition."""
        return self.sts.role_arn.replace("arn:aws:", f"arn:{self.partition}:", 1)

    @property
    def calls(self) -> list[CreateSessionCall]:
        """All calls so far, oldest first; a copy."""
        with self._changed:
            return list(self._log)

    def trust(self, *anchors: x509.Certificate) -> None:
        """Let the trust anchor hold exactly these certificates."""
        self.anchors = anchors

    def arguments(self) -> list[str]:
        """Return the options that name this endpoint and its ARNs, for a command line."""
        return [
            *("--endpoint", self.url),
            *("--trust-anchor-arn", self.trust_anchor_arn),
            *("--profile-arn", self.profile_arn),
            *("--role-arn", self.role_arn),
        ]

    def refuse_with(self, code: str, message: str = "Refused", status: int = 403) -> None:
        """Answer every call with this error until `refusal` is None again."""
        self.refusal = RolesAnywhereError(code, message, status)

    def __repr__(self) -> str:
        return f"RolesAnywhereEndpoint(region={self.region!r}, faults={self.faults!r})"

    def endpoint(self, path: str) -> Endpoint:
        """Return which half of the issuer `path` belongs to (called by the server)."""
        return "tokens"

    def respond(self, request: Request) -> Response:
        """Answer a request (called by the server)."""
        try:
            response = self._create_session(request)
        except RolesAnywhereError as error:
            self._note(request, error.code, error.message)
            return error.response(
                self.faults.retry_after if error.code == "ThrottlingException" else None
            )
        mode = self.faults.mode
        self._note(request, "ok" if mode in ("none", "slow") else mode)
        return response

    def faulted(self, request: Request, mode: FaultMode) -> Response:
        """Note a call that a fault hit (called by the server)."""
        self._note(request, mode)
        if mode == "throttle":
            return throttled().response(self.faults.retry_after)
        if mode == "not_json":
            body = b'{"credentialSet": [{"credentials": {"accessKeyId": "ASIA'
            return Response(status=201, body=body, content_type="application/json")
        message = "An internal error occurred"
        return RolesAnywhereError("InternalServerException", message, 500).response()

    def _create_session(self, request: Request) -> Response:
        if self.refusal is not None:
            raise self.refusal
        check_protocol(request)
        self._check_rate()
        certificate = self._authenticate(request)
        call = CreateSession.parse(request)
        self._check_resources(call)
        self._check_chain(request, certificate)
        key = self._session(call, certificate)
        self.sts.accept(key)
        return self._answer(call, key, certificate)

    def _check_rate(self) -> None:
        if self.rate_limit is None:
            return
        now = time.monotonic()
        with self._changed:
            while self._recent and self._recent[0] <= now - _RATE_WINDOW:
                self._recent.popleft()
            if len(self._recent) >= self.rate_limit:
                raise throttled()
            self._recent.append(now)

    def _authenticate(self, request: Request) -> x509.Certificate:
        authorization = parse_authorization(request.headers.get("Authorization"))
        check_signed_headers(authorization, request.headers)
        date = request.headers.get("X-Amz-Date")
        check_scope(authorization, date, self.region, self.faults.now())
        certificate = certificate_from_header(
            "X-Amz-X509", str(request.headers.get("X-Amz-X509", ""))
        )
        canonical = canonical_request(request, authorization.signed_headers)
        to_sign = string_to_sign(authorization, str(date), canonical)
        check_signature(authorization, certificate, to_sign)
        return certificate

    def _check_chain(self, request: Request, certificate: x509.Certificate) -> None:
        check_end_entity(certificate)
        intermediates = chain_from_header(request.headers.get("X-Amz-X509-Chain"))
        now = datetime.fromtimestamp(self.faults.now(), UTC)
        check_chain(certificate, intermediates, self.anchors, now)

    def _check_resources(self, call: CreateSession) -> None:
        if call.trust_anchor_arn != self.trust_anchor_arn:
            raise not_there("Trust anchor not found")
        if call.profile_arn != self.profile_arn:
            raise not_there("Profile not found")
        if not self.trust_anchor_enabled:
            raise denied("Trust anchor is disabled")
        if not self.profile_enabled:
            raise denied("Profile is disabled")
        if call.role_arn != self.role_arn:
            raise denied(f"Unable to assume role for {call.role_arn}")
        if call.role_session_name is not None and not self.accept_role_session_name:
            raise denied("Not authorized to set roleSessionName.")

    def _session(self, call: CreateSession, certificate: x509.Certificate) -> AccessKey:
        lifetime = self.session_lifetime
        if lifetime is None:
            lifetime = min(call.duration, self.profile_duration)
        name = call.role_session_name or f"{certificate.serial_number:x}"
        role = call.role_arn.rpartition("/")[2]
        expired = self.faults.mode == "expired"
        return AccessKey(
            access_key_id=unique_id("ASIA"),
            secret_access_key=secrets.token_urlsafe(30),
            session_token=secrets.token_urlsafe(400),
            expires_at=self.faults.now() + (-EXPIRED_FOR if expired else lifetime),
            caller=Caller(
                account=self.account_id,
                arn=f"arn:{self.partition}:sts::{self.account_id}:assumed-role/{role}/{name}",
                user_id=f"{self._role_id}:{name}",
                principal_arn=call.role_arn,
                source_identity=certificate.subject.rfc4514_string(),
            ),
        )

    def _answer(
        self, call: CreateSession, key: AccessKey, certificate: x509.Certificate
    ) -> Response:
        credentials = {
            "accessKeyId": key.access_key_id,
            "expiration": iso_time(key.expires_at or 0),
            "secretAccessKey": key.secret_access_key,
            "sessionToken": key.session_token,
        }
        if self.faults.mode == "no_expiration":
            del credentials["expiration"]
        session: dict[str, Any] = {
            "assumedRoleUser": {"arn": key.caller.arn, "assumedRoleId": key.caller.user_id},
            "credentials": credentials,
            "packedPolicySize": 0,
            "roleArn": call.role_arn,
            "sourceIdentity": key.caller.source_identity,
        }
        subject = uuid.uuid5(uuid.NAMESPACE_OID, certificate.subject.rfc4514_string())
        home = f"arn:{self.partition}:rolesanywhere:{self.region}:{self.account_id}"
        content = {
            "credentialSet": [] if self.faults.mode == "empty_set" else [session],
            "subjectArn": f"{home}:subject/{subject}",
        }
        return json_response(content, 201, {"x-amzn-RequestId": str(uuid.uuid4())})

    def _arn(self, kind: str) -> str:
        home = f"arn:{self.partition}:rolesanywhere:{self.region}:{self.account_id}"
        return f"{home}:{kind}/{self._ids[kind]}"

    def _note(self, request: Request, outcome: str, message: str | None = None) -> None:
        with self._changed:  # so that the log is in the order of its times
            call = CreateSessionCall(
                at=time.monotonic(), request=request, outcome=outcome, message=message
            )
            self._record(call, fetched=outcome == "ok")


@contextmanager
def serve_rolesanywhere(directory: Path) -> Iterator[RolesAnywhereEndpoint]:
    """Run an endpoint with an STS endpoint of its own and certificates in `directory`."""
    files = create_certificates(directory / "tls")
    own, key = files.certificate_file, files.key_file
    with (
        StsEndpoint(certificate=own, private_key=key) as sts,
        RolesAnywhereEndpoint(
            certificate=own, private_key=key, sts=sts, ca_file=files.ca_file
        ) as endpoint,
    ):
        yield endpoint
