"""Discovery and the client credentials grant, by Authlib on requests."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlsplit

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from mqauth.credentials import BrokerCredentials, utc_from_timestamp
from mqauth.errors import ConfigurationError, InvalidCredentialError, MQAuthError
from mqauth.providers import _http
from mqauth.providers._bearer import from_jwt
from mqauth.providers._deadline import Deadline
from mqauth.providers._oauth2_answers import json_object, refusal
from mqauth.providers._oauth2_config import OAuth2Config
from mqauth.providers._text import clean
from mqauth.providers._urls import check_url, is_loopback
from mqauth.secret import Secret

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
        document = self._get_json(issuer.rstrip("/") + DISCOVERY_PATH, what, deadline)
        named = document.get("issuer")
        if not isinstance(named, str) or named.rstrip("/") != issuer.rstrip("/"):
            raise ConfigurationError(
                f"{what} calls itself otherwise in its configuration: {clean(named)}",
                remedy="set issuer to the very name the issuer uses, or set token_endpoint",
            )
        endpoint = document.get("token_endpoint")
        if not isinstance(endpoint, str):
            raise InvalidCredentialError(
                f"the configuration of {what} names no token_endpoint", remedy="set token_endpoint"
            )
        insecure = self._config.insecure_issuer
        return check_url(endpoint, f"the token endpoint of {what}", insecure=insecure)

    def fetch(self, endpoint: str, deadline: Deadline, *, provider: str) -> BrokerCredentials:
        """Fetch a token and return the credential it is.

        Raises:
            CredentialError: No usable token was to be had.
            ConfigurationError: The client's secret cannot be used.
        """
        adapter = _http.BoundedAdapter(deadline)
        secret = Secret(self._config.client_secret.reveal())
        answer, response = self._request_token(endpoint, adapter, secret)
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
            username=self._config.username,
            clock_skew=skew,
        )

    def _opaque(
        self,
        token: Secret,
        answer: Mapping[str, Any],
        asked_at: float,
        skew: float,
        provider: str,
    ) -> BrokerCredentials:
        life = _seconds(answer.get("expires_in"))
        if life is None:
            raise InvalidCredentialError(
                "the issuer does not say when its opaque token ends (expires_in)",
                remedy="have the issuer say so, or use tokens that are JWTs",
            )
        return BrokerCredentials(
            username=self._config.username,
            password=token,
            # Counted from before the request: rather a little too short than too long.
            issued_at=utc_from_timestamp(asked_at),
            expires_at=utc_from_timestamp(asked_at + life),
            principal=self._config.client_id,
            provider=provider,
            clock_skew=skew,
        )

    def _get_json(self, url: str, what: str, deadline: Deadline) -> dict[str, Any]:
        failure: MQAuthError
        with requests.Session() as session:
            session.headers.update(_HEADERS)
            _mount(session, _http.BoundedAdapter(deadline))
            _keep_off_proxies(session, url)
            try:
                response = session.get(
                    url, auth=_no_authentication, allow_redirects=False, verify=self._config.verify
                )
            except (requests.RequestException, OSError) as error:
                failure = _http.unavailable(error, what)
            else:
                return json_object(response, what)
        raise failure

    def _request_token(
        self, endpoint: str, adapter: _http.BoundedAdapter, secret: Secret
    ) -> tuple[dict[str, Any], requests.Response]:
        what = f"the token endpoint {endpoint}"
        secrets = self._spoken(secret)
        seen: list[requests.Response] = []

        def check(response: requests.Response) -> requests.Response:
            seen.append(response)
            json_object(response, what, secrets)
            return response

        failure: MQAuthError
        with self._session(adapter, secret) as session:
            session.register_compliance_hook("access_token_response", check)
            _keep_off_proxies(session, endpoint)
            try:
                answer = session.fetch_token(
                    endpoint,
                    grant_type="client_credentials",
                    allow_redirects=False,
                    verify=self._config.verify,
                    **self._config.parameters,
                )
            except OAuthError as error:
                failure = refusal(seen[-1], error.error, error.description, what, secrets)
            except (requests.RequestException, OSError) as error:
                failure = _http.unavailable(error, what)
            except (TypeError, ValueError, OverflowError):
                failure = InvalidCredentialError(
                    f"{what} answered with an expires_in that is no number of seconds",
                    remedy="correct the issuer",
                )
            else:
                return _with_wrapped_token(answer), seen[-1]
        raise failure

    def _session(self, adapter: _http.BoundedAdapter, secret: Secret) -> OAuth2Session:
        client_id, client_secret = self._identification(secret)
        session = OAuth2Session(
            client_id=client_id,
            client_secret=client_secret,
            token_endpoint_auth_method=self._config.auth_method,
        )
        session.headers.update(_HEADERS)
        _mount(session, adapter)
        return session

    def _identification(self, secret: Secret) -> tuple[str, str]:
        """Return id and secret as they are sent; Authlib leaves RFC 6749's 2.3.1 to its caller."""
        pair = self._config.client_id, secret.reveal()
        if self._config.auth_method == "client_secret_basic":
            return quote_plus(pair[0]), quote_plus(pair[1])
        return pair

    def _spoken(self, secret: Secret) -> tuple[Secret, ...]:
        """Return what must not come back in an error text: the secret and what is sent of it."""
        client_id, sent = self._identification(secret)
        pairs = (f"{client_id}:{sent}", f"{self._config.client_id}:{secret.reveal()}")
        encoded = (Secret(base64.b64encode(pair.encode()).decode()) for pair in pairs)
        return secret, Secret(sent), *encoded


def _with_wrapped_token(answer: Mapping[str, Any]) -> dict[str, Any]:
    token = answer.get("access_token")
    wrapped = Secret(token.strip()) if isinstance(token, str) and token.strip() else None
    return {"access_token": wrapped, "expires_in": answer.get("expires_in")}


def _no_authentication(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # In its place requests would look for a password in ~/.netrc.
    return request


def _keep_off_proxies(session: requests.Session, url: str) -> None:
    # A proxy that the environment names is another host: what may go to this host alone in clear
    # text must not pass it.
    if is_loopback(urlsplit(url).hostname or ""):
        session.trust_env = False


def _mount(session: requests.Session, adapter: _http.BoundedAdapter) -> None:
    session.mount("https://", adapter)
    session.mount("http://", adapter)


def _seconds(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < 1e9 else None
