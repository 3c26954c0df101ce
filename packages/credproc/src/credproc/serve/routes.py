"""What is answered to which request: the paths of IMDSv2 and of container credentials.

Sources: EC2 User Guide, "Use the Instance Metadata Service"; AWS SDKs and Tools Reference Guide,
"Container credential provider". The paths, methods and statuses are those of the official
helper's `serve`; where that one answers "Success" with empty keys, this one answers 503.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from credproc.credentials import SessionCredentials, format_time
from credproc.errors import CredprocError
from credproc.secret import Secret
from credproc.serve.keeper import Keeper
from credproc.serve.tokens import TokenStore, parse_ttl

TOKEN_PATH = "/latest/api/token"  # noqa: S105 - a path
ROLE_PATH = "/latest/meta-data/iam/security-credentials"
CONTAINER_PATH = "/credentials"

TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105 - a header's name
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"

WAIT_FOR_RENEWAL = 0.8
"""Seconds a request waits when the session has ended: SDKs give the metadata service one."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP response."""

    status: int
    body: str = field(default="", repr=False)
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Routes:
    """Answers requests.

    Args:
        keeper: Where the session comes from.
        role_arn: The role of the session.
        container_token: Returns what containers must send as Authorization; None for no container
            endpoint.
        tokens: The tokens of IMDSv2.
    """

    keeper: Keeper
    role_arn: str
    container_token: Callable[[], Secret] | None = None
    tokens: TokenStore = field(default_factory=TokenStore)

    @property
    def role_name(self) -> str:
        """The role's name without its path."""
        return self.role_arn.rpartition("/")[2]

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """Return what to answer.

        Args:
            method: The request's method.
            path: Its path, without a query.
            headers: Its headers; looking one up ignores its case.
        """
        path = path.rstrip("/") or "/"
        handlers = {
            TOKEN_PATH: ("PUT", self._token),
            ROLE_PATH: ("GET", self._role),
            f"{ROLE_PATH}/{self.role_name}": ("GET", self._metadata),
        }
        if self.container_token is not None:
            handlers[CONTAINER_PATH] = ("GET", self._container)
        if path not in handlers:
            return Answer(status=404, body="no such resource")
        allowed, handler = handlers[path]
        if method != allowed:
            return Answer(status=405, headers={"Allow": allowed})
        if refusal := _forwarded_or_foreign(headers):
            return refusal
        return handler(headers)

    def _token(self, headers: Mapping[str, str]) -> Answer:
        ttl = parse_ttl(headers.get(TTL_HEADER))
        if ttl is None:
            return Answer(status=400, body="invalid token TTL")
        return Answer(status=200, body=self.tokens.issue(ttl), headers={TTL_HEADER: str(ttl)})

    def _role(self, headers: Mapping[str, str]) -> Answer:
        left = self._left(headers)
        if left is None:
            return Answer(status=401, body="no valid token provided")
        return Answer(status=200, body=self.role_name, headers={TTL_HEADER: str(left)})

    def _metadata(self, headers: Mapping[str, str]) -> Answer:
        left = self._left(headers)
        if left is None:
            return Answer(status=401, body="no valid token provided")
        ttl = {TTL_HEADER: str(left)}
        try:
            session = self.keeper.current(WAIT_FOR_RENEWAL)
        except CredprocError as error:
            document = {"Code": type(error).__name__, "Message": str(error)}
            return _json(503, document, ttl)
        document = {
            "Code": "Success",
            "LastUpdated": format_time(time.time()),
            "Type": "AWS-HMAC",
            **_keys(session),
        }
        return _json(200, document, ttl)

    def _container(self, headers: Mapping[str, str]) -> Answer:
        assert self.container_token is not None  # noqa: S101 - it has no route without
        given = headers.get("Authorization") or ""
        try:
            expected = self.container_token().reveal()
        except CredprocError as error:
            return _json(500, {"code": type(error).__name__, "message": str(error)})
        if not hmac.compare_digest(_bytes(given), _bytes(expected)):
            return _json(401, {"code": "Unauthorized", "message": "no valid Authorization header"})
        try:
            session = self.keeper.current(WAIT_FOR_RENEWAL)
        except CredprocError as error:
            return _json(503, {"code": type(error).__name__, "message": str(error)})
        return _json(200, {"RoleArn": self.role_arn, **_keys(session)})

    def _left(self, headers: Mapping[str, str]) -> int | None:
        token = headers.get(TOKEN_HEADER)
        return self.tokens.seconds_left(token) if token else None


def _keys(session: SessionCredentials) -> dict[str, str]:
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key.reveal(),
        "Token": session.session_token.reveal(),
        "Expiration": session.expiration_text,
    }


def _forwarded_or_foreign(headers: Mapping[str, str]) -> Answer | None:
    """Refuse what a proxy forwards, and web pages whose name was made to lead here.

    A page cannot send a number for a host unless it came from there, but a name of its own, which
    then resolves to 127.0.0.1 (DNS rebinding), would let it ask for a token.
    """
    if headers.get("X-Forwarded-For") is not None:
        return Answer(status=400, body="unable to process requests with X-Forwarded-For header")
    host = headers.get("Host")
    if host is None or _is_address(host):
        return None
    return Answer(status=400, body="the Host header must be an IP address or localhost")


def _is_address(host: str) -> bool:
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _json(
    status: int, document: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> Answer:
    return Answer(
        status=status,
        body=json.dumps(document),
        content_type="application/json",
        headers=headers or {},
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
