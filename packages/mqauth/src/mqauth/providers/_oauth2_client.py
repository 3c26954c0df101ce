"""Discovery and token requests, by Authlib on requests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import requests
from authlib.integrations.base_client import OAuthError

from mqauth.credentials import BrokerCredentials
from mqauth.errors import ConfigurationError, InvalidCredentialError, MQAuthError
from mqauth.providers import _http
from mqauth.providers._bearer import from_jwt, on_issuers_clock
from mqauth.providers._deadline import Deadline
from mqauth.providers._oauth2_answers import discovery_document, json_object, refusal
from mqauth.providers._oauth2_authentication import ClientAuthentication
from mqauth.providers._oauth2_config import OAuth2Config
from mqauth.providers._oauth2_refresh import RefreshTokens
from mqauth.providers._text import clean
from mqauth.providers._token_text import is_token
from mqauth.providers._urls import check_url
from mqauth.secret import Secret

READING_ON = 30.0
"""Seconds that an answer with the successor of a refresh token may be late."""

DISCOVERY_PATH = "/.well-known/openid-configuration"

# A compressed answer could grow far beyond its bound before anybody notices.
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "mqauth"}


class OAuth2Client:
    """Speaks to one authorization server; holds no connection between requests.

    Args:
        config: The checked options of the provider.
    """

    def __init__(self, config: OAuth2Config) -> None:
        """Keep the options."""
        self._config = config

    def discover(self, deadline: Deadline) -> str:
        """Return the token endpoint that the issuer's configuration names.

        See OpenID Connect Discovery 1.0, section 4.

        Raises:
            CredentialError: The configuration is not to be had, or names no token endpoint.
            ConfigurationError: It is another issuer's, or its token endpoint is insecure.
        """
        issuer = str(self._config.issuer)
        what = f"the issuer {issuer}"
        document = self._configuration(issuer.rstrip("/") + DISCOVERY_PATH, deadline)
        named = document.get("issuer")
        if named is None:
            raise ConfigurationError(
                f"the JSON at {issuer.rstrip('/')}{DISCOVERY_PATH} names no issuer, so it is no "
                f"OpenID configuration",
                remedy="check the option issuer, or set token_endpoint",
            )
        if not isinstance(named, str) or named.rstrip("/") != issuer.rstrip("/"):
            raise ConfigurationError(
                f"{what} calls itself otherwise in its configuration: {clean(named)}",
                remedy="set issuer to the very name the issuer uses, or set token_endpoint",
            )
        endpoint = document.get("token_endpoint")
        aliases = document.get("mtls_endpoint_aliases")
        if self._config.mutual_tls and isinstance(aliases, dict):
            endpoint = aliases.get("token_endpoint", endpoint)  # RFC 8705, section 5
        if not isinstance(endpoint, str):
            raise InvalidCredentialError(
                f"the configuration of {what} names no token_endpoint", remedy="set token_endpoint"
            )
        insecure = self._config.insecure_issuer
        return check_url(endpoint, f"the token endpoint of {what}", insecure=insecure)

    def fetch(
        self,
        endpoint: str,
        deadline: Deadline,
        *,
        provider: str,
        refresh_tokens: RefreshTokens | None = None,
    ) -> BrokerCredentials:
        """Fetch a token and return the credential it is.

        Args:
            endpoint: The token endpoint.
            deadline: When to stop.
            provider: Name of the provider.
            refresh_tokens: What the grant refresh_token uses and keeps.

        Raises:
            CredentialError: No usable token was to be had.
            ConfigurationError: The client's secret, key or certificate cannot be used.
        """
        if refresh_tokens is None:
            adapter = _http.BoundedAdapter(deadline)
            return self._fetch(endpoint, adapter, provider, self._owner())
        with refresh_tokens.exclusive(deadline):
            grant = {"refresh_token": refresh_tokens.present()}
            # Whoever asked may give up at the deadline: its successor is worth waiting for longer.
            reading = Deadline(deadline.remaining() + READING_ON)
            adapter = _http.BoundedAdapter(deadline, reading=reading)
            with refresh_tokens.answer_expected(deadline):
                return self._fetch(endpoint, adapter, provider, grant, refresh_tokens)

    def _owner(self) -> dict[str, Secret]:
        """Return what the grant password sends of the resource owner."""
        config = self._config
        if config.owner_username is None or config.owner_password is None:
            return {}
        password = Secret(config.owner_password.reveal())
        return {"username": Secret(config.owner_username), "password": password}

    def _fetch(
        self,
        endpoint: str,
        adapter: _http.BoundedAdapter,
        provider: str,
        grant: Mapping[str, Secret],
        refresh_tokens: RefreshTokens | None = None,
    ) -> BrokerCredentials:
        answer, response = self._request_token(endpoint, adapter, grant, refresh_tokens)
        what = f"the token endpoint {endpoint}"
        token = answer.pop("access_token", None)
        if not isinstance(token, Secret):
            raise InvalidCredentialError(
                f"{what} answered without an access_token",
                remedy="check that it is the token endpoint and not another one of the issuer",
            )
        skew = adapter.clock_skew(response)
        if self._config.opaque:
            return self._opaque(token, answer, adapter.sent_at + skew, skew, provider)
        return from_jwt(
            token,
            provider=provider,
            origin=what,
            username=self._username(token),
            clock_skew=skew,
        )

    def _username(self, token: Secret) -> str:
        return token.reveal() if self._config.token_as_username else self._config.username

    def _opaque(
        self,
        token: Secret,
        answer: Mapping[str, Any],
        asked_at: float,
        skew: float,
        provider: str,
    ) -> BrokerCredentials:
        life = _seconds(answer.get("expires_in"))
        if not is_token(token.reveal()):
            raise InvalidCredentialError(
                "the issuer's opaque token holds characters that no token has",
                remedy="check what answers in the issuer's place",
            )
        if life is None:
            raise InvalidCredentialError(
                "the issuer does not say when its opaque token ends (expires_in)",
                remedy="have the issuer say so, or use tokens that are JWTs",
            )
        return BrokerCredentials(
            username=self._username(token),
            password=token,
            # Counted from before the request: rather a little too short than too long.
            issued_at=on_issuers_clock(asked_at, "the issuer"),
            expires_at=on_issuers_clock(asked_at + life, "the issuer"),
            principal=self._config.client_id,
            provider=provider,
            clock_skew=skew,
        )

    def _configuration(self, url: str, deadline: Deadline) -> dict[str, Any]:
        what = f"the issuer's configuration {url}"
        failure: MQAuthError
        with requests.Session() as session:
            session.headers.update(_HEADERS)
            adapter = _http.BoundedAdapter(deadline)
            _http.prepare(session, url, what, adapter, verify=self._config.verify)
            try:
                response = session.get(
                    url, auth=_no_authentication, allow_redirects=False, verify=self._config.verify
                )
            except _http.FAILURES as error:
                failure = _http.unavailable(error, what)
            else:
                return discovery_document(response, what)
        raise failure

    def _request_token(
        self,
        endpoint: str,
        adapter: _http.BoundedAdapter,
        grant: Mapping[str, Secret],
        refresh_tokens: RefreshTokens | None,
    ) -> tuple[dict[str, Any], requests.Response]:
        what = f"the token endpoint {endpoint}"
        client = ClientAuthentication(self._config)
        secrets = (*client.secrets, *(v for name, v in grant.items() if name != "username"))
        seen: list[requests.Response] = []

        def check(response: requests.Response) -> requests.Response:
            seen.append(response)
            successor = _successor(json_object(response, what, secrets), what)
            if refresh_tokens is not None and successor not in (None, grant["refresh_token"]):
                # Before anything else can go wrong: the issuer takes the old one no more.
                refresh_tokens.replace(successor)
            return response

        failure: MQAuthError
        with client.session() as session:
            session.headers.update(_HEADERS)
            _http.prepare(session, endpoint, what, adapter, verify=self._config.verify)
            session.register_compliance_hook("access_token_response", check)
            try:
                answer = session.fetch_token(
                    endpoint,
                    grant_type=self._config.grant_type,
                    allow_redirects=False,
                    verify=self._config.verify,
                    **self._config.parameters,
                    **{name: value.reveal() for name, value in grant.items()},
                )
            except OAuthError as error:
                failure = refusal(
                    seen[-1],
                    error.error,
                    error.description,
                    what,
                    secrets,
                    remedies=self._config.remedies,
                )
            except (*_http.FAILURES, TypeError, OverflowError) as error:
                failure = _http.unavailable(error, what)
                if seen and not isinstance(error, requests.RequestException):
                    # Authlib reckons with it as soon as the answer is there.
                    failure = InvalidCredentialError(
                        f"{what} answered with an expires_in that is no number of seconds",
                        remedy="correct the issuer",
                    )
            else:
                return _with_wrapped_token(answer), seen[-1]
        raise failure


def _with_wrapped_token(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "access_token": _wrapped(answer.get("access_token")),
        "expires_in": answer.get("expires_in"),
    }


def _successor(content: Mapping[str, Any], what: str) -> Secret | None:
    """Return the refresh token that an answer gives, if it does (RFC 6749, 6 and A.17)."""
    token = _wrapped(content.get("refresh_token"))
    if token is not None and not is_token(token.reveal().replace(" ", "")):
        raise InvalidCredentialError(
            f"{what} answered with a refresh token of characters that none has",
            remedy="check what answers in the issuer's place",
        )
    return token


def _wrapped(token: object) -> Secret | None:
    return Secret(token.strip()) if isinstance(token, str) and token.strip() else None


def _no_authentication(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # In its place requests would look for a password in ~/.netrc.
    return request


def _seconds(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < 1e9 else None
