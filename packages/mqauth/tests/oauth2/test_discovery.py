"""How oauth2 finds the token endpoint, and which configuration of an issuer it believes."""

from __future__ import annotations

import pytest

from mqauth.errors import (
    ConfigurationError,
    InsecureTransportError,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.oauth2.building import Build, asking, failure
from packages.mqauth.tests.oauth2.servers import Answer, Serve, as_json


def test_discovery_that_fails(client: Build, issuer: OidcIssuer) -> None:
    """An issuer that cannot be discovered now is one that may be later."""
    provider = client()
    for mode in ("error500", "html", "garbage"):
        with issuer.faults.during(mode, affects="everything"):
            assert isinstance(failure(provider), IssuerUnavailableError)
    assert issuer.requests == 0
    assert provider.fetch(timeout=10).remaining() > 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, IssuerRefusedError),
        (403, IssuerRefusedError),
        (404, IssuerRefusedError),
        (429, IssuerUnavailableError),
        (500, IssuerUnavailableError),
        (503, IssuerUnavailableError),
        (302, IssuerUnavailableError),
    ],
)
@pytest.mark.parametrize(
    "body", [b'{"error": "Realm does not exist"}', b'{"message": "no"}', b"<html></html>", b""]
)
def test_discovery_that_is_refused(
    serve: Serve, status: int, kind: type[MQAuthError], body: bytes
) -> None:
    """A configuration that is not served is told by URL and status, whatever the body is."""
    server = serve(lambda _: (status, {"Location": "/"}, body))
    error = failure(asking(server, issuer=f"{server.url}/realms/x"))
    assert type(error) is kind
    assert error.retryable is (kind is IssuerUnavailableError)
    assert f"HTTP {status}" in str(error)
    assert f"{server.url}/realms/x/.well-known/openid-configuration" in str(error)


def test_another_issuers_configuration_is_refused(serve: Serve) -> None:
    """A document that names another issuer is not believed (OpenID Connect Discovery, 4.3)."""
    document = {"issuer": "https://evil.example", "token_endpoint": "http://127.0.0.1:1/token"}
    server = serve(lambda _: as_json(document))
    error = failure(asking(server, issuer=server.url))
    assert isinstance(error, ConfigurationError)
    assert "https://evil.example" in str(error)
    server = serve(lambda _: as_json({"error": "not here"}))
    assert "names no issuer" in str(failure(asking(server, issuer=server.url)))


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        (None, InvalidCredentialError),
        (7, InvalidCredentialError),
        ("/token", ConfigurationError),
        ("http://issuer.example/token", InsecureTransportError),
    ],
)
def test_a_configuration_without_a_safe_endpoint(
    serve: Serve, endpoint: object, kind: type[MQAuthError]
) -> None:
    """A discovered endpoint is held to the same rules as a configured one."""
    server = serve(lambda _: as_json({"issuer": server.url, "token_endpoint": endpoint}))
    assert type(failure(asking(server, issuer=server.url))) is kind


def test_discovery_happens_once_and_again_after_a_failure(serve: Serve, issuer: OidcIssuer) -> None:
    """The endpoint is remembered while it works, and looked up anew once it does not."""
    token, path = issuer.mint(), "/old"

    def answer(asked: str) -> Answer:
        if asked.endswith("openid-configuration"):
            return as_json({"issuer": server.url, "token_endpoint": server.url + path})
        return as_json({"access_token": token}) if asked == path else (404, {}, b"")

    server = serve(answer)
    provider = asking(server, issuer=f"{server.url}/")
    provider.fetch(timeout=20)
    provider.fetch(timeout=20)
    path = "/new"
    assert isinstance(failure(provider), IssuerRefusedError)
    provider.fetch(timeout=20)
    discovery = "/.well-known/openid-configuration"
    assert [asked for asked, _ in server.requests] == [
        discovery,
        "/old",
        "/old",
        "/old",
        discovery,
        "/new",
    ]
