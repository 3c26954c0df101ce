"""What ApsaraMQ for RabbitMQ checks at a login, as a backend of rabbitmq_auth_backend_http.

A user name is `base64("0:" instance ":" key id ":" security token)`, a password
`base64(HMAC-SHA1(key = timestamp, message = key's secret) in capital hex ":" timestamp)`; see
"Grant permissions to RabbitMQ clients by RRSA" in the ApsaraMQ for RabbitMQ documentation.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from mqauth_sandbox.alibaba_sts import AlibabaSts, RoleSession
from mqauth_sandbox.faults import Endpoint, FaultMode, Faults
from mqauth_sandbox.http import HttpsServer, Request, Response
from mqauth_sandbox.running import Restartable

ALLOW, DENY = "allow", "deny"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoginCheck:
    """One login that the broker asked about.

    Args:
        outcome: `ok`, `malformed`, `wrong_instance`, `unknown_key`, `wrong_token`, `expired` or
            `wrong_signature`.
        access_key_id: The key that the user name holds, if it could be read.
    """

    outcome: str
    access_key_id: str | None


class ApsaraMqAuth(Restartable):
    """Answers a broker's questions about ApsaraMQ's dynamic users.

    An expired session can neither sign in nor do anything that needs a permission. What is open
    stays open: whether the real service ends it, its documentation does not say.

    Args:
        certificate: PEM file with the server's certificate (for `localhost`) and its chain.
        private_key: PEM file with the certificate's key.
        sts: Whose sessions sign in.
        port: Port to use; 0 for a free one, kept over restarts.

    Attributes:
        instance_id: The one instance that user names must name; settable at any time.
        faults: How it misbehaves.
    """

    def __init__(
        self, *, certificate: Path, private_key: Path, sts: AlibabaSts, port: int = 0
    ) -> None:
        """Read the certificate; nothing listens before `start`."""
        self.instance_id = "rabbitmq-serverless-cn-sandbox"
        self.faults = Faults()
        self._sts = sts
        self._lock = threading.Lock()
        self._logins: list[LoginCheck] = []
        self._server = HttpsServer(
            self, self.faults, certificate=certificate, private_key=private_key, port=port
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    @property
    def logins(self) -> list[LoginCheck]:
        """All logins so far, oldest first; a copy. The broker asks once per login."""
        with self._lock:
            return list(self._logins)

    def start(self) -> None:
        """Listen; the port of an earlier `start` is used again."""
        self._server.start()

    def stop(self) -> None:
        """End all connections and stop listening."""
        self._server.stop()

    def endpoint(self, path: str) -> Endpoint:
        """Return which half of an issuer `path` belongs to (called by the server)."""
        return "tokens"

    def faulted(self, request: Request, mode: FaultMode) -> Response:
        """Answer a request that a fault hit (called by the server)."""
        return Response(status=500, body=b"", content_type="text/plain")

    def respond(self, request: Request) -> Response:
        """Answer a request (called by the server)."""
        parameters = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        checks: dict[str, Callable[[dict[str, str]], str]] = {
            "/user": self._check_login,
            "/vhost": self._check_operation,
            "/resource": self._check_operation,
            "/topic": self._check_operation,
        }
        check = checks.get(request.path)
        if check is None or request.method != "POST":
            return Response(status=404, body=b"", content_type="text/plain")
        return Response(status=200, body=check(parameters).encode(), content_type="text/plain")

    def _check_login(self, parameters: dict[str, str]) -> str:
        outcome, session = self._session_of(parameters.get("username", ""))
        if outcome == "ok" and session is not None:
            outcome = _signature_outcome(parameters.get("password", ""), session)
        key = session.access_key_id if session is not None else None
        with self._lock:
            self._logins.append(LoginCheck(outcome=outcome, access_key_id=key))
        return ALLOW if outcome == "ok" else DENY

    def _check_operation(self, parameters: dict[str, str]) -> str:
        outcome, _ = self._session_of(parameters.get("username", ""))
        return ALLOW if outcome == "ok" else DENY

    def _session_of(self, username: str) -> tuple[str, RoleSession | None]:
        parts = (_decoded(username) or "").split(":")
        if len(parts) != 4 or parts[0] != "0":
            return "malformed", None
        _, instance, key, token = parts
        session = self._sts.session(key)
        if instance != self.instance_id:
            return "wrong_instance", session
        if session is None:
            return "unknown_key", None
        if not hmac.compare_digest(token.encode(), session.security_token.encode()):
            return "wrong_token", session
        expired = session.expires_at <= self._sts.faults.now()
        return ("expired" if expired else "ok"), session


def _signature_outcome(password: str, session: RoleSession) -> str:
    signature, _, timestamp = (_decoded(password) or "").partition(":")
    if not timestamp.isdecimal():
        return "malformed"
    wanted = hmac.new(timestamp.encode(), session.access_key_secret.encode(), hashlib.sha1)
    right = hmac.compare_digest(signature.encode(), wanted.hexdigest().upper().encode())
    return "ok" if right else "wrong_signature"


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
