"""What a strict token endpoint checks in a request before it looks at the grant (RFC 6749)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote_plus

from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.http import Request, Response, json_response, retry_after_header

_FORM = "application/x-www-form-urlencoded"
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, 3.3
_REPEATABLE = frozenset({"audience", "resource"})  # RFC 8693, 2.1 and RFC 8707, 2
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="mqauth-sandbox", charset="UTF-8"'}


class OAuthError(Exception):
    """An error answer of the token endpoint (RFC 6749, 5.2).

    Args:
        code: Error code, such as `invalid_client`.
        description: One sentence for the client's developer.
        status: HTTP status.
        headers: More headers; 401 gets its challenge by itself.
    """

    def __init__(
        self,
        code: str,
        description: str,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what the answer needs."""
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.status = status
        self.headers = {**(_CHALLENGE if status == 401 else {}), **(headers or {})}

    def response(self) -> Response:
        """Return the error as the HTTP response that the client gets."""
        content = {"error": self.code, "error_description": self.description}
        return json_response(content, self.status, {"Pragma": "no-cache", **self.headers})


def fault_response(mode: FaultMode, retry_after: float | None) -> Response:
    """Return what an OAuth 2 server answers when `mode` hits it: a 500, a 429, or half a JSON."""
    if mode == "throttle":
        headers = retry_after_header(retry_after)
        return OAuthError("temporarily_unavailable", "slow down", 429, headers).response()
    if mode == "not_json":
        body = b'{"access_token": "eyJhbGciOi'
        return Response(status=200, body=body, content_type="application/json")
    return OAuthError("server_error", "the issuer failed", 500).response()


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientCredentials:
    """Who a client says it is.

    Args:
        client_id: The client's identifier.
        client_secret: What it offers as proof.
    """

    client_id: str
    client_secret: str = field(repr=False)


def form_parameters(request: Request) -> dict[str, list[str]]:
    """Return the parameters of a token request, those without a value left out (RFC 6749, 3.2).

    Raises:
        OAuthError: The request is no form posted to the endpoint, or repeats a parameter.
    """
    if request.method != "POST":
        raise OAuthError("invalid_request", "use POST", 405, {"Allow": "POST"})
    if request.headers.get_content_type() != _FORM or "Content-Type" not in request.headers:
        raise OAuthError("invalid_request", f"the body must be {_FORM}")
    try:
        parameters = parse_qs(request.body.decode("ascii"), errors="strict")
    except ValueError:
        raise OAuthError("invalid_request", "the body is no valid form") from None
    for name, values in parameters.items():
        if len(values) > 1 and name not in _REPEATABLE:
            raise OAuthError("invalid_request", "a parameter is given more than once")
    return parameters


def single(parameters: Mapping[str, list[str]], name: str) -> str | None:
    """Return the value of a parameter that can be given once, or None."""
    return parameters[name][0] if name in parameters else None


def client_credentials(request: Request, parameters: Mapping[str, list[str]]) -> ClientCredentials:
    """Return the client's identifier and secret from the header or the body (RFC 6749, 2.3.1).

    Raises:
        OAuthError: There are none, they cannot be read, or both ways are used at once.
    """
    header = request.headers.get("Authorization")
    client_id, secret = single(parameters, "client_id"), single(parameters, "client_secret")
    if header is None:
        if client_id is None or secret is None:
            raise OAuthError("invalid_client", "the client did not authenticate", 401)
        return ClientCredentials(client_id=client_id, client_secret=secret)
    if secret is not None:
        raise OAuthError("invalid_request", "use one way of client authentication, not two")
    client = _basic(header)
    if client_id is not None and client_id != client.client_id:
        raise OAuthError("invalid_request", "client_id differs from the authenticated client")
    return client


def space_separated(scope: str) -> list[str]:
    """Return the scopes in a `scope` parameter (RFC 6749, 3.3), each once.

    Raises:
        OAuthError: The parameter breaks the grammar.
    """
    scopes = scope.split(" ")
    if not all(_SCOPE_TOKEN.fullmatch(token) for token in scopes):
        raise OAuthError("invalid_scope", "scope is malformed")
    return list(dict.fromkeys(scopes))


def _basic(header: str) -> ClientCredentials:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        raise OAuthError("invalid_client", "only Basic authentication is supported", 401)
    try:
        decoded = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise OAuthError("invalid_client", "the Authorization header is malformed", 401) from None
    client_id, colon, secret = decoded.partition(":")
    if not colon:
        raise OAuthError("invalid_client", "the Authorization header is malformed", 401)
    # Both halves are form-encoded before they are joined (RFC 6749, 2.3.1).
    return ClientCredentials(client_id=unquote_plus(client_id), client_secret=unquote_plus(secret))
