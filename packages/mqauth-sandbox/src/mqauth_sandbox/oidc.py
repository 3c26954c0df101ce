"""A strict OpenID Connect issuer: discovery, JWKS, and tokens for one client and its users.

Paths, all over HTTPS on localhost:

- `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`
- `/.well-known/jwks.json`: public keys, the old ones too after `rotate_keys`
- `/oauth/token`: the grants client_credentials, password and refresh_token (RFC 6749, 4.4, 4.3 and
  6) with `client_secret_basic` or `client_secret_post`; `scope`, `audience` and `resource`
  (RFC 8707) narrow the token
"""

from __future__ import annotations

import hmac
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqauth_sandbox.faults import Endpoint, FaultMode
from mqauth_sandbox.http import (
    Request,
    Response,
    json_response,
    not_found,
)
from mqauth_sandbox.issuer import EXPIRED_FOR, NOT_A_JWT, Issuer
from mqauth_sandbox.keys import Algorithm
from mqauth_sandbox.oauth import (
    ClientCredentials,
    OAuthError,
    client_credentials,
    fault_response,
    form_parameters,
    single,
    space_separated,
)
from mqauth_sandbox.refresh import RefreshTokenStore

_TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path, no secret
_JWKS_PATH = "/.well-known/jwks.json"
_DISCOVERY_PATHS = (
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRequest:
    """One request to the token endpoint.

    Args:
        at: When it came, on the monotonic clock (`time.monotonic()`).
        outcome: `ok`, an error code of RFC 6749, or the fault mode that hit it.
        client_id: Who asked, as far as the request said so.
    """

    at: float
    outcome: str
    client_id: str | None


class OidcIssuer(Issuer[TokenRequest]):
    """Issues RabbitMQ access tokens to one client, and misbehaves on demand.

    Args:
        certificate: PEM file with the server's certificate (for `localhost`) and its chain.
        private_key: PEM file with the certificate's key.
        client_id: The one client it knows.
        client_secret: The client's secret; random if not given.
        resource_server_id: Audience of the tokens, and prefix of the default scopes.
        token_lifetime: Seconds that tokens live.
        scopes: Scopes in tokens; by default everything a Celery worker and an administrator need.
        port: Port to use; 0 for a free one, kept over restarts.
        algorithm: How tokens are signed; keys of HS256 are secret and in no JWKS.

    Example:
        with OidcIssuer(certificate=cert, private_key=key, token_lifetime=15) as issuer:
            requests.post(
                issuer.token_endpoint,
                data={"grant_type": "client_credentials"},
                auth=(issuer.client_id, issuer.client_secret),
                verify=ca_file,
            )

    Attributes:
        client_id: The one client it knows.
        client_secret: The client's secret.
        resource_server_id: Audience of the tokens.
        token_lifetime: Seconds that tokens live; settable at any time.
        scopes: Scopes in tokens, and the ones a client may ask for; settable at any time.
        users: Passwords of the users who may use the password grant, by their names.
        refresh_tokens: Those that are handed out with the password grant.
        audiences: Values of `audience` and `resource` it accepts besides `resource_server_id`.
        faults: How it misbehaves.
    """

    def __init__(
        self,
        *,
        certificate: Path,
        private_key: Path,
        client_id: str = "celery",
        client_secret: str | None = None,
        resource_server_id: str = "rabbitmq",
        token_lifetime: float = 300.0,
        scopes: Sequence[str] | None = None,
        port: int = 0,
        algorithm: Algorithm = "RS256",
    ) -> None:
        """Read the certificate; nothing listens before `start`."""
        super().__init__(
            certificate=certificate, private_key=private_key, algorithms=(algorithm,), port=port
        )
        self._algorithm: Algorithm = algorithm
        self.users: dict[str, str] = {}
        self.refresh_tokens = RefreshTokenStore()
        self.client_id = client_id
        self.client_secret = client_secret or secrets.token_urlsafe(24)
        self.resource_server_id = resource_server_id
        self.token_lifetime = token_lifetime
        self.scopes = list(default_scopes(resource_server_id) if scopes is None else scopes)
        self.audiences: list[str] = []

    @property
    def issuer_url(self) -> str:
        """The `iss` of its tokens, and what discovery starts from."""
        return self._server.url

    @property
    def token_endpoint(self) -> str:
        """Where clients fetch tokens."""
        return self.issuer_url + _TOKEN_PATH

    @property
    def jwks_uri(self) -> str:
        """Where brokers read the public keys."""
        return self.issuer_url + _JWKS_PATH

    @property
    def token_requests(self) -> list[TokenRequest]:
        """All token requests so far, oldest first; a copy."""
        with self._changed:
            return list(self._log)

    def __repr__(self) -> str:
        return f"OidcIssuer(client_id={self.client_id!r}, faults={self.faults!r})"

    def mint(self, **claims: Any) -> str:
        """Return a signed token without any client asking for it.

        Args:
            **claims: Claims to set instead of the usual ones; None leaves a claim out. Three names
                are no claims: `lifetime` (seconds from now to `exp`, negative for an expired
                token), `scopes` (a list, in place of the issuer's) and `padding` (makes the token
                that many bytes longer, give or take a few).
        """
        lifetime = float(claims.pop("lifetime", self.token_lifetime))
        scopes = claims.pop("scopes", None)
        padding = int(claims.pop("padding", 0))
        merged = {**self._claims(lifetime=lifetime, scopes=scopes), **claims}
        if padding:
            merged["padding"] = "x" * (padding * 3 // 4)  # base64 makes four bytes of three
        return self._sign({name: v for name, v in merged.items() if v is not None})

    def signing_key(self) -> tuple[str, dict[str, str] | str]:
        """Return id and verification key of the tokens, for brokers that are told and do not ask.

        The key is a text in PEM, or with HS256 the members of a JSON Web Key.
        """
        return self._keys.verification_key(self._algorithm)

    def _sign(self, claims: dict[str, Any]) -> str:
        return self._keys.sign(claims, self._algorithm)

    def endpoint(self, path: str) -> Endpoint:
        """Return which half of the issuer `path` belongs to (called by the server)."""
        return "tokens" if path == _TOKEN_PATH else "keys"

    def respond(self, request: Request) -> Response:
        """Answer a request (called by the server)."""
        if request.path == _TOKEN_PATH:
            return self._token_response(request)
        if request.path == _JWKS_PATH:
            return json_response(self._keys.jwks())
        if request.path in _DISCOVERY_PATHS:
            return json_response(self._discovery())
        return not_found(request.path)

    def faulted(self, request: Request, mode: FaultMode) -> Response:
        """Note a request that a fault hit (called by the server)."""
        if request.path == _TOKEN_PATH:
            self._note(mode, None)
        return fault_response(mode, self.faults.retry_after)

    def _token_response(self, request: Request) -> Response:
        client: ClientCredentials | None = None
        try:
            parameters = form_parameters(request)
            client = client_credentials(request, parameters)
            self._check_client(client)
            content = self._grant(parameters)
        except OAuthError as error:
            self._note(error.code, client.client_id if client else None)
            return error.response()
        mode = self.faults.mode_for("tokens")
        if mode == "not_jwt":
            content["access_token"] = NOT_A_JWT
        elif mode == "expired":
            content["access_token"] = self.mint(lifetime=-EXPIRED_FOR)
        self._note(mode if mode in ("not_jwt", "expired") else "ok", client.client_id)
        return json_response(content, headers={"Pragma": "no-cache"})

    def _check_client(self, client: ClientCredentials) -> None:
        # Both comparisons always run, so the time taken does not tell which one failed.
        known = hmac.compare_digest(client.client_id.encode(), self.client_id.encode())
        right = hmac.compare_digest(client.client_secret.encode(), self.client_secret.encode())
        if not (known and right):
            raise OAuthError("invalid_client", "unknown client or wrong secret", 401)

    def _grant(self, parameters: dict[str, list[str]]) -> dict[str, Any]:
        grant_type = single(parameters, "grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "grant_type is missing")
        subject, refresh_token = self._subject(grant_type, parameters)
        scopes = self._granted_scopes(single(parameters, "scope"))
        audiences = self._granted_audiences(
            parameters.get("audience", []) + parameters.get("resource", [])
        )
        claims = self._claims(lifetime=self.token_lifetime, scopes=scopes, audiences=audiences)
        claims["sub"] = subject
        answer = {
            "access_token": self._sign(claims),
            "token_type": "Bearer",
            "expires_in": max(0, claims["exp"] - claims["iat"]),
            "scope": claims["scope"],
        }
        return answer if refresh_token is None else {**answer, "refresh_token": refresh_token}

    def _subject(self, grant_type: str, parameters: dict[str, list[str]]) -> tuple[str, str | None]:
        """Return whom the token is for, and the refresh token that comes with it."""
        if grant_type == "client_credentials":
            return self.client_id, None
        if grant_type == "password":
            name = single(parameters, "username")
            password = single(parameters, "password")
            if name is None or password is None:
                raise OAuthError("invalid_request", "username or password is missing")
            if not hmac.compare_digest(self.users.get(name, "").encode(), password.encode()):
                raise OAuthError("invalid_grant", "unknown user or wrong password")
            return name, self.refresh_tokens.issue(name)
        if grant_type == "refresh_token":
            token = single(parameters, "refresh_token")
            if token is None:
                raise OAuthError("invalid_request", "refresh_token is missing")
            return self.refresh_tokens.use(token)
        raise OAuthError("unsupported_grant_type", "only the grants in the configuration")

    def _granted_scopes(self, requested: str | None) -> list[str]:
        allowed = list(self.scopes)
        if requested is None:
            return allowed
        wanted = space_separated(requested)
        refused = [scope for scope in wanted if scope not in allowed]
        if refused:
            raise OAuthError("invalid_scope", "the client may not have all of these scopes")
        return wanted

    def _granted_audiences(self, requested: list[str]) -> list[str]:
        allowed = {self.resource_server_id, *self.audiences}
        if not set(requested) <= allowed:
            raise OAuthError("invalid_target", "unknown audience or resource")
        return list(dict.fromkeys(requested)) or [self.resource_server_id]

    def _claims(
        self,
        *,
        lifetime: float,
        scopes: Sequence[str] | None = None,
        audiences: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        now = self.faults.now()
        # An expired token was issued before it expired.
        issued_at = now if lifetime > 0 else now + lifetime - self.token_lifetime
        return {
            "iss": self.issuer_url,
            "sub": self.client_id,
            "aud": list(audiences or [self.resource_server_id]),
            "iat": int(issued_at),
            "exp": int(now + lifetime),
            "jti": str(uuid.uuid4()),
            "client_id": self.client_id,
            "scope": " ".join(self.scopes if scopes is None else scopes),
        }

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer_url,
            "token_endpoint": self.token_endpoint,
            "jwks_uri": self.jwks_uri,
            "grant_types_supported": ["client_credentials", "password", "refresh_token"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "scopes_supported": list(self.scopes),
        }

    def _note(self, outcome: str, client_id: str | None) -> None:
        with self._changed:  # so that the log is in the order of its times
            entry = TokenRequest(at=time.monotonic(), outcome=outcome, client_id=client_id)
            self._record(entry, fetched=outcome == "ok")


def default_scopes(resource_server_id: str) -> list[str]:
    """Return scopes that let a Celery worker do everything and open the management pages.

    Three segments, since a scope of two grants no access to topics, which Celery's events need.
    """
    return [
        f"{resource_server_id}.configure:*/*/*",
        f"{resource_server_id}.write:*/*/*",
        f"{resource_server_id}.read:*/*/*",
        f"{resource_server_id}.tag:administrator",
    ]
