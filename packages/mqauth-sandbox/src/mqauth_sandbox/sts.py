"""AWS's Security Token Service for one account, strict enough to test signers against.

It verifies Signature Version 4 on every call and answers `AssumeRole`, `GetCallerIdentity` and
`GetWebIdentityToken` in the query protocol (version 2011-06-15). Beside it stands the issuer of
its web identity tokens, which in AWS is an account's own
`https://<id>.tokens.sts.global.api.aws`: discovery and JWKS under `/federation`.

Source: AWS STS API reference; IAM User Guide, "Understanding token claims" (outbound identity
federation); the service model that botocore brings.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mqauth_sandbox.accesskeys import AccessKey, Caller, KeyRing, unique_id
from mqauth_sandbox.awsquery import VERSION, AwsError, Parameters, iso_time, result_response
from mqauth_sandbox.faults import Endpoint, FaultMode
from mqauth_sandbox.http import (
    Request,
    Response,
    json_response,
    not_found,
    retry_after_header,
)
from mqauth_sandbox.issuer import EXPIRED_FOR, NOT_A_JWT, Issuer
from mqauth_sandbox.oauth import fault_response
from mqauth_sandbox.roles import Role
from mqauth_sandbox.sigv4 import authenticate
from mqauth_sandbox.stscalls import ALGORITHMS, AssumeRole, GetWebIdentityToken

_CLAIMS = "https://sts.amazonaws.com/"
_FEDERATION = "/federation"
_ROLE_CHAIN_LIMIT = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class StsCall:
    """One call to the endpoint.

    Args:
        at: When it came, on the monotonic clock (`time.monotonic()`).
        action: What was asked for, as far as the request said so.
        outcome: `ok`, the error code of AWS, or the fault mode that hit it.
    """

    at: float
    action: str | None
    outcome: str


class StsEndpoint(Issuer[StsCall]):
    """A regional STS endpoint with one user, one role and outbound identity federation.

    Args:
        certificate: PEM file with the server's certificate (for `localhost`) and its chain.
        private_key: PEM file with the certificate's key.
        region: Region it stands in; signatures for others are refused.
        account_id: Account of the user and the role.
        user_name: The one user, whose long-term key is `access_key_id`.
        role_name: The one role, which the user may assume.
        port: Port to use; 0 for a free one, kept over restarts.

    Example:
        with StsEndpoint(certificate=cert, private_key=key) as sts:
            client = boto3.client(
                "sts", region_name=sts.region, endpoint_url=sts.url, verify=ca_file,
                aws_access_key_id=sts.access_key_id,
                aws_secret_access_key=sts.secret_access_key,
            )
            client.assume_role(RoleArn=sts.role_arn, RoleSessionName="me")

    Attributes:
        region: Region it stands in.
        account_id: Account of the user and the role.
        user_arn: The user's ARN.
        role_arn: The role's ARN, which is the `sub` of its web identity tokens.
        access_key_id: The user's long-term key.
        secret_access_key: The secret half of it.
        external_id: What `AssumeRole` has to bring as `ExternalId`; None if it need not.
        max_session_duration: The longest `DurationSeconds` that the role allows.
        session_lifetime: Seconds that sessions really live, whatever was asked for; None to
            follow the request. AWS knows none under 15 minutes; tests do.
        token_lifetime_override: Seconds that web identity tokens really live, whatever was asked
            for; None to follow the request. AWS knows none under a minute; demos do.
        federation_enabled: Whether the account has enabled outbound identity federation.
        max_payload_bytes: Largest payload of a web identity token; None for no limit. AWS has
            one and does not say which.
        denied_actions: Actions such as `sts:GetWebIdentityToken` that policies deny. With tags,
            `GetWebIdentityToken` needs `sts:TagGetWebIdentityToken`, and `AssumeRole`
            `sts:TagSession`.
        empty_sessions: Whether `AssumeRole` answers without credentials, as AWS never does and
            what a proxy or a fake may do.
        global_endpoint: Whether it stands for `sts.amazonaws.com`, which has no
            `GetWebIdentityToken`. AWS does not document the refusal; here it is `InvalidAction`.
        faults: How it misbehaves.
    """

    def __init__(
        self,
        *,
        certificate: Path,
        private_key: Path,
        region: str = "eu-west-1",
        account_id: str = "123456789012",
        user_name: str = "operator",
        role_name: str = "RabbitMqAdminRole",
        port: int = 0,
    ) -> None:
        """Make the user's key; nothing listens before `start`."""
        super().__init__(
            certificate=certificate, private_key=private_key, algorithms=ALGORITHMS, port=port
        )
        self.region = region
        self.account_id = account_id
        self.user_arn = f"arn:aws:iam::{account_id}:user/{user_name}"
        self.role_arn = f"arn:aws:iam::{account_id}:role/{role_name}"
        self.access_key_id = unique_id("AKIA")
        self.secret_access_key = secrets.token_urlsafe(30)
        self.external_id: str | None = None
        self.max_session_duration = 43200
        self.session_lifetime: float | None = None
        self.token_lifetime_override: float | None = None
        self.federation_enabled = True
        self.max_payload_bytes: int | None = None
        self.denied_actions: set[str] = set()
        self.empty_sessions = False
        self.global_endpoint = False
        self._role_name = role_name
        self._role_id = unique_id("AROA")
        self._further_roles: dict[str, Role] = {}
        self._ring = KeyRing()
        self._ring.add(self._user_key())

    @property
    def url(self) -> str:
        """What an AWS SDK takes as endpoint URL."""
        return self._server.url

    @property
    def issuer_url(self) -> str:
        """The `iss` of its web identity tokens, and what discovery starts from."""
        return self.url + _FEDERATION

    @property
    def jwks_uri(self) -> str:
        """Where brokers read the public keys of its web identity tokens."""
        return self.issuer_url + "/.well-known/jwks.json"

    @property
    def calls(self) -> list[StsCall]:
        """All calls so far, oldest first; a copy."""
        with self._changed:
            return list(self._log)

    def add_role(self, name: str, *, trusts: str, external_id: str | None = None) -> str:
        """Add a role and return its ARN.

        Args:
            name: Its name.
            trusts: ARN of the user or role that may assume it.
            external_id: What has to come with `AssumeRole`; None if nothing has to.
        """
        arn = f"arn:aws:iam::{self.account_id}:role/{name}"
        self._further_roles[arn] = Role(
            name=name, arn=arn, unique_id=unique_id("AROA"), trusts=trusts, external_id=external_id
        )
        return arn

    def accept(self, key: AccessKey) -> None:
        """Accept a key that another service of the account has issued, until it expires."""
        self._ring.add(key)

    def key_of(self, access_key_id: str, session_token: str | None, now: float) -> AccessKey:
        """Return a key that is good at `now`, for other services of the account.

        Raises:
            AwsError: It is unknown, lacks its session token, or has expired.
        """
        return self._ring.find(access_key_id, session_token, now)

    def __repr__(self) -> str:
        return f"StsEndpoint(region={self.region!r}, faults={self.faults!r})"

    def endpoint(self, path: str) -> Endpoint:
        """Return which half of the service `path` belongs to (called by the server)."""
        return "tokens" if path == "/" else "keys"

    def respond(self, request: Request) -> Response:
        """Answer a request (called by the server)."""
        match request.path:
            case "/":
                return self._call(request)
            case "/federation/.well-known/jwks.json":
                return json_response(self._keys.jwks())
            case "/federation/.well-known/openid-configuration":
                return json_response(self._discovery())
            case path:
                return not_found(path)

    def faulted(self, request: Request, mode: FaultMode) -> Response:
        """Note a call that a fault hit (called by the server)."""
        if self.endpoint(request.path) == "keys":
            return fault_response(mode, self.faults.retry_after)
        self._note(_action(request), mode)
        match mode:
            case "throttle":
                response = AwsError("Throttling", "Rate exceeded").response()
                extra = retry_after_header(self.faults.retry_after)
                return replace(response, headers={**response.headers, **extra})
            case "not_json":
                response = result_response("GetCallerIdentity", {})
                return replace(response, body=response.body[:60])
            case _:
                message = "We encountered an internal error. Please try again."
                return AwsError("InternalFailure", message, 500).response()

    def _call(self, request: Request) -> Response:
        action: str | None = None
        try:
            key = self._signed_by(request, region=self.region, service="sts")
            parameters = Parameters(request)
            action = parameters.text("Action")
            response, outcome = self._dispatch(action, key, parameters)
        except AwsError as error:
            self._note(action or _action(request), error.code)
            return error.response()
        self._note(action, outcome)
        return response

    def _dispatch(
        self, action: str | None, key: AccessKey, parameters: Parameters
    ) -> tuple[Response, str]:
        version = parameters.text("Version")
        if action is None:
            raise AwsError("MissingAction", "The request is missing an action")
        if version == VERSION:
            match action:
                case "AssumeRole":
                    return self._assume_role(key, AssumeRole.parse(parameters)), "ok"
                case "GetCallerIdentity":
                    return self._caller_identity(key), "ok"
                case "GetWebIdentityToken" if not self.global_endpoint:
                    return self._web_identity_token(key, GetWebIdentityToken.parse(parameters))
        raise AwsError(
            "InvalidAction",
            f"Could not find operation {action} for version {version or 'NO_VERSION_SPECIFIED'}",
        )

    def _signed_by(self, request: Request, *, region: str, service: str) -> AccessKey:
        return authenticate(
            request,
            region=region,
            service=service,
            now=self.faults.now(),
            find_key=lambda name, token: self._ring.find(name, token, self.faults.now()),
        )

    def _caller_identity(self, key: AccessKey) -> Response:
        caller = key.caller
        return result_response(
            "GetCallerIdentity",
            {"Arn": caller.arn, "UserId": caller.user_id, "Account": caller.account},
        )

    def _assume_role(self, key: AccessKey, call: AssumeRole) -> Response:
        role = self._role(call.role_arn)
        if role is None or not role.admits(key.caller.principal_arn, call.external_id):
            raise _denied(key, "sts:AssumeRole", call.role_arn)
        self._authorize(key, "sts:AssumeRole", call.role_arn)
        if call.tags:
            self._authorize(key, "sts:TagSession", call.role_arn)
        self._check_session_duration(key, call.duration)
        session = self._session(call, role)
        self._ring.add(session)
        return result_response(
            "AssumeRole",
            {
                "Credentials": None
                if self.empty_sessions
                else {
                    "AccessKeyId": session.access_key_id,
                    "SecretAccessKey": session.secret_access_key,
                    "SessionToken": session.session_token,
                    "Expiration": iso_time(session.expires_at or 0),
                },
                "AssumedRoleUser": {
                    "AssumedRoleId": session.caller.user_id,
                    "Arn": session.caller.arn,
                },
                "SourceIdentity": call.source_identity,
            },
        )

    def _role(self, arn: str) -> Role | None:
        if arn != self.role_arn:
            return self._further_roles.get(arn)
        return Role(
            name=self._role_name, arn=arn, unique_id=self._role_id, external_id=self.external_id
        )

    def _check_session_duration(self, key: AccessKey, duration: int) -> None:
        if key.session_token is not None and duration > _ROLE_CHAIN_LIMIT:
            raise AwsError(
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed "
                "by role chaining",
            )
        if duration > self.max_session_duration:
            raise AwsError(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            )

    def _session(self, call: AssumeRole, role: Role) -> AccessKey:
        name = call.session_name
        lifetime = call.duration if self.session_lifetime is None else self.session_lifetime
        return AccessKey(
            access_key_id=unique_id("ASIA"),
            secret_access_key=secrets.token_urlsafe(30),
            session_token=secrets.token_urlsafe(180),
            expires_at=self.faults.now() + lifetime,
            caller=Caller(
                account=self.account_id,
                arn=f"arn:aws:sts::{self.account_id}:assumed-role/{role.name}/{name}",
                user_id=f"{role.unique_id}:{name}",
                principal_arn=role.arn,
                tags=call.tags,
                source_identity=call.source_identity,
            ),
        )

    def _web_identity_token(
        self, key: AccessKey, call: GetWebIdentityToken
    ) -> tuple[Response, str]:
        self._check_federation(key, tagged=bool(call.tags))
        now, lifetime = self.faults.now(), float(call.duration)
        if self.token_lifetime_override is not None:
            lifetime = self.token_lifetime_override
        if key.expires_at is not None and now + lifetime > key.expires_at:
            raise AwsError(
                "SessionDurationEscalationException",
                "The requested token duration extends the session beyond its expiration",
                403,
            )
        mode = self.faults.mode_for("tokens")
        issued_at = now - lifetime - EXPIRED_FOR if mode == "expired" else now
        claims = self._claims(key, call, issued_at, lifetime)
        self._check_payload(claims)
        token = NOT_A_JWT if mode == "not_jwt" else self._keys.sign(claims, call.algorithm)
        result = {"WebIdentityToken": token, "Expiration": iso_time(claims["exp"])}
        outcome = mode if mode in ("not_jwt", "expired") else "ok"
        return result_response("GetWebIdentityToken", result), outcome

    def _check_federation(self, key: AccessKey, *, tagged: bool) -> None:
        resource = f"arn:aws:sts::{self.account_id}:self"
        self._authorize(key, "sts:GetWebIdentityToken", resource)
        if tagged:
            self._authorize(key, "sts:TagGetWebIdentityToken", resource)
        if not self.federation_enabled:
            raise AwsError(
                "OutboundWebIdentityFederationDisabledException",
                "Outbound web identity federation is not enabled for this account",
                403,
            )

    def _claims(
        self,
        key: AccessKey,
        call: GetWebIdentityToken,
        issued_at: float,
        lifetime: float,
    ) -> dict[str, Any]:
        caller = key.caller
        aws: dict[str, Any] = {"aws_account": caller.account, "source_region": self.region}
        if caller.tags:
            aws["principal_tags"] = dict(caller.tags)
        if key.expires_at is not None:
            aws["original_session_exp"] = iso_time(key.expires_at)
        if caller.source_identity is not None:
            aws["source_identity"] = caller.source_identity
        if call.tags:
            aws["request_tags"] = dict(call.tags)
        return {
            "iss": self.issuer_url,
            "sub": caller.principal_arn,
            "aud": call.audiences[0] if len(call.audiences) == 1 else call.audiences,
            "iat": int(issued_at),
            "exp": int(issued_at + lifetime),
            "jti": str(uuid.uuid4()),
            _CLAIMS: aws,
        }

    def _check_payload(self, claims: dict[str, Any]) -> None:
        limit = self.max_payload_bytes
        if limit is not None and len(json.dumps(claims).encode()) > limit:
            raise AwsError(
                "JWTPayloadSizeExceededException",
                "The payload of the token exceeds the maximum allowed size",
            )

    def _authorize(self, key: AccessKey, action: str, resource: str) -> None:
        if action in self.denied_actions:
            raise _denied(key, action, resource)

    def _user_key(self) -> AccessKey:
        return AccessKey(
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            caller=Caller(
                account=self.account_id,
                arn=self.user_arn,
                user_id=unique_id("AIDA"),
                principal_arn=self.user_arn,
            ),
        )

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer_url,
            "jwks_uri": self.jwks_uri,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(ALGORITHMS),
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "jti", _CLAIMS],
        }

    def _note(self, action: str | None, outcome: str) -> None:
        with self._changed:  # so that the log is in the order of its times
            call = StsCall(at=time.monotonic(), action=action, outcome=outcome)
            self._record(call, fetched=action == "GetWebIdentityToken" and outcome == "ok")


def _denied(key: AccessKey, action: str, resource: str) -> AwsError:
    return AwsError(
        "AccessDenied",
        f"User: {key.caller.arn} is not authorized to perform: {action} on resource: {resource}",
        403,
    )


def _action(request: Request) -> str | None:
    try:
        return Parameters(request).text("Action")
    except AwsError:
        return None
