"""Alibaba Cloud's Security Token Service for one account with RRSA: `AssumeRoleWithOIDC`.

It verifies the OIDC token against the keys of an OIDC issuer, as the real one does after it has
read them from the issuer's discovery document.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import KeySet

from mqauth_sandbox.alibaba_calls import (
    AlibabaError,
    AssumeRoleWithOidc,
    parameters_of,
    response,
)
from mqauth_sandbox.faults import Endpoint, FaultMode
from mqauth_sandbox.http import Request, Response, not_found
from mqauth_sandbox.issuer import EXPIRED_FOR, Issuer
from mqauth_sandbox.oidc import OidcIssuer

SERVICE_ACCOUNT = "system:serviceaccount:default:celery"
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, kw_only=True, slots=True)
class AlibabaCall:
    """One call to the endpoint.

    Args:
        at: When it came, on the monotonic clock (`time.monotonic()`).
        outcome: `ok`, the error code, or the fault mode that hit it.
        parameters: What was sent, the token left out.
    """

    at: float
    outcome: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleSession:
    """A session that was handed out.

    Args:
        access_key_id: Its key.
        access_key_secret: The key's secret half.
        security_token: What has to go with the key.
        expires_at: Its end, as `time.time()` counts on the clock of the endpoint.
    """

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str = field(repr=False)
    expires_at: float


class AlibabaSts(Issuer[AlibabaCall]):
    """An STS endpoint of Alibaba Cloud with one role, trusted to one service account.

    Args:
        certificate: PEM file with the server's certificate (for `localhost`) and its chain.
        private_key: PEM file with the certificate's key.
        oidc: The issuer of the cluster's service-account tokens.
        account_id: Account of the role and the identity provider.
        role_name: The one role.
        port: Port to use; 0 for a free one, kept over restarts.

    Attributes:
        role_arn: The role's ARN.
        oidc_provider_arn: ARN of the OIDC identity provider that stands for `oidc`.
        audience: The client id that the identity provider knows, the `aud` of tokens.
        trusted_subject: Whom the role's trust policy allows, the `sub` of tokens.
        max_session_duration: The longest `DurationSeconds` that the role allows.
        session_lifetime: Seconds that sessions really live, whatever was asked for; None to
            follow the request. Alibaba Cloud knows none under 15 minutes; demos do.
        answers_in_xml: Whether it ignores `Format=JSON`, as some gateways do.
        faults: How it misbehaves; `not_jwt` leaves the credentials out of its answer.
    """

    def __init__(
        self,
        *,
        certificate: Path,
        private_key: Path,
        oidc: OidcIssuer,
        account_id: str = "1880770869023420",
        role_name: str = "celery-worker",
        port: int = 0,
    ) -> None:
        """Know no session; nothing listens before `start`."""
        super().__init__(certificate=certificate, private_key=private_key, algorithms=(), port=port)
        self.role_arn = f"acs:ram::{account_id}:role/{role_name}"
        self.oidc_provider_arn = f"acs:ram::{account_id}:oidc-provider/ack-rrsa-sandbox"
        self.audience = "sts.aliyuncs.com"
        self.trusted_subject = SERVICE_ACCOUNT
        self.max_session_duration = 3600
        self.session_lifetime: float | None = None
        self.answers_in_xml = False
        self._oidc = oidc
        self._sessions_lock = threading.Lock()
        self._sessions: dict[str, RoleSession] = {}

    @property
    def url(self) -> str:
        """Where it is asked."""
        return self._server.url

    @property
    def calls(self) -> list[AlibabaCall]:
        """All calls so far, oldest first; a copy."""
        with self._changed:
            return list(self._log)

    def __repr__(self) -> str:
        return f"AlibabaSts(role_arn={self.role_arn!r}, faults={self.faults!r})"

    def service_account_token(self, *, lifetime: float = 86400.0, **claims: Any) -> str:
        """Return a token such as a cluster projects into a pod; `claims` replace its own."""
        usual = {"aud": [self.audience], "sub": self.trusted_subject, "scope": None}
        return self._oidc.mint(lifetime=lifetime, **{**usual, **claims})

    def session(self, access_key_id: str) -> RoleSession | None:
        """Return the session of a key."""
        with self._sessions_lock:
            return self._sessions.get(access_key_id)

    def endpoint(self, path: str) -> Endpoint:
        """Return which half of the service `path` belongs to (called by the server)."""
        return "tokens"

    def respond(self, request: Request) -> Response:
        """Answer a request (called by the server)."""
        if request.path != "/":
            return not_found(request.path)
        parameters: dict[str, str] = {}
        try:
            parameters = parameters_of(request)
            content, outcome = self._assume(
                AssumeRoleWithOidc.parse(parameters, most_seconds=self.max_session_duration)
            )
            answer, status, name = content, 200, "AssumeRoleWithOIDCResponse"
        except AlibabaError as error:
            answer, status, name, outcome = error.content(), error.status, "Error", error.code
        self._note(parameters, outcome)
        return self._answer(parameters, answer, name=name, status=status)

    def faulted(self, request: Request, mode: FaultMode) -> Response:
        """Note a call that a fault hit (called by the server)."""
        try:
            parameters = parameters_of(request)
        except AlibabaError:
            parameters = {}
        self._note(parameters, mode)
        if mode == "throttle":
            error = AlibabaError("Throttling.User", "Request was denied due to user flow control.")
        else:
            error = AlibabaError("InternalError", "STS Server Internal Error happened.", 500)
        answer = self._answer(parameters, error.content(), name="Error", status=error.status)
        if mode == "not_json":
            return Response(status=200, body=answer.body[:30], content_type=answer.content_type)
        return answer

    def _answer(
        self, parameters: Mapping[str, str], content: Mapping[str, Any], *, name: str, status: int
    ) -> Response:
        form = "XML" if self.answers_in_xml else parameters.get("Format", "XML")
        return response(content, name=name, form=form, status=status)

    def _assume(self, call: AssumeRoleWithOidc) -> tuple[dict[str, Any], str]:
        if call.provider_arn != self.oidc_provider_arn:
            raise AlibabaError(
                "AuthenticationFail.NoPermission", "No such OIDC Provider registered.", 401
            )
        claims = self._verified(call.token)
        if call.role_arn != self.role_arn:
            raise AlibabaError("EntityNotExist.Role", f"The role not exists: {call.role_arn}.", 404)
        if claims.get("sub") != self.trusted_subject:
            raise AlibabaError("AuthenticationFail.NoPermission", "There is no permission", 401)
        mode = self.faults.mode_for("tokens")
        session = self._new_session(call, dead=mode == "expired")
        content: dict[str, Any] = {
            "AssumedRoleUser": {
                "AssumedRoleId": f"33015789072384****:{call.session_name}",
                "Arn": f"{self.role_arn}/{call.session_name}",
            },
            "OIDCTokenInfo": {
                "Subject": claims["sub"],
                "Issuer": claims["iss"],
                "ClientIds": self.audience,
                "VerificationInfo": "Success",
            },
        }
        if mode != "not_jwt":
            content["Credentials"] = {
                "AccessKeyId": session.access_key_id,
                "AccessKeySecret": session.access_key_secret,
                "SecurityToken": session.security_token,
                "Expiration": datetime.fromtimestamp(session.expires_at, UTC).strftime(_TIME),
            }
        return content, mode if mode in ("not_jwt", "expired") else "ok"

    def _verified(self, token: str) -> dict[str, Any]:
        prefix = "AuthenticationFail.OIDCToken"
        if not token:
            raise AlibabaError(f"{prefix}.Invalid", "The OIDCToken can not empty.", 401)
        if token.count(".") != 2:
            raise AlibabaError(
                f"{prefix}.Invalid",
                "The number of Jwt field should be divided into 3 parts with '.' .",
                401,
            )
        jwks: Any = self._oidc.jwks()
        try:
            claims = jwt.decode(token, KeySet.import_key_set(jwks), ["RS256"]).claims
        except BadSignatureError:
            raise AlibabaError(
                f"{prefix}.InvalidSignature",
                "OIDC token validate failed: invalid signature.",
                401,
            ) from None
        except (JoseError, ValueError):
            raise AlibabaError(
                f"{prefix}.Invalid", "The Jwt content is invalid that cannot be recognized.", 401
            ) from None
        self._check_claims(claims, prefix)
        return claims

    def _check_claims(self, claims: Mapping[str, Any], prefix: str) -> None:
        if claims.get("iss") != self._oidc.issuer_url:
            raise AlibabaError(
                f"{prefix}.IssuerNotMatch",
                "The issuer in the OIDC Token doesn't match the OIDC Provider registered.",
                401,
            )
        audience = claims.get("aud")
        if self.audience not in ([audience] if isinstance(audience, str) else audience or []):
            raise AlibabaError(f"{prefix}.AudienceNotMatch", "Invalid audience.", 401)
        if not isinstance(claims.get("exp"), int) or claims["exp"] <= self.faults.now():
            raise AlibabaError(f"{prefix}.Expired", "This JsonWebToken is expired.", 401)

    def _new_session(self, call: AssumeRoleWithOidc, *, dead: bool) -> RoleSession:
        lifetime = call.duration if self.session_lifetime is None else self.session_lifetime
        session = RoleSession(
            access_key_id=f"STS.{secrets.token_hex(12)}",
            access_key_secret=secrets.token_urlsafe(33),
            # About as long as real ones.
            security_token=f"CAIS{secrets.token_urlsafe(480)}",
            # Whole seconds, as the answer has it.
            expires_at=int(self.faults.now() + (-EXPIRED_FOR if dead else lifetime)),
        )
        with self._sessions_lock:
            self._sessions[session.access_key_id] = session
        return session

    def _note(self, parameters: Mapping[str, str], outcome: str) -> None:
        shown = {name: value for name, value in parameters.items() if name != "OIDCToken"}
        with self._changed:  # so that the log is in the order of its times
            call = AlibabaCall(at=time.monotonic(), outcome=outcome, parameters=shown)
            self._record(call, fetched=outcome == "ok")
