"""What becomes of a token of oauth2: whose it is, when it ends, on whose clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mqauth.errors import InvalidCredentialError
from mqauth.jwt_claims import unverified_claims
from mqauth.providers._http_dates import clock_skew
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.oauth2.building import SECRET, Build, asking, failure
from packages.mqauth.tests.oauth2.servers import Serve, as_json


@pytest.mark.parametrize("auth_method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("discovered", [True, False])
def test_a_token_becomes_a_credential(
    client: Build,
    issuer: OidcIssuer,
    auth_method: str,
    discovered: bool,  # noqa: FBT001
) -> None:
    """With and without discovery, and either way to authenticate, a token comes back."""
    given = {} if discovered else {"token_endpoint": issuer.token_endpoint}
    credentials = client(auth_method=auth_method, **given).fetch(timeout=10)
    claims = unverified_claims(credentials.password)
    assert claims["iss"] == issuer.issuer_url
    assert credentials.expires_at == datetime.fromtimestamp(claims["exp"], UTC)
    assert credentials.issued_at == datetime.fromtimestamp(claims["iat"], UTC)
    assert (credentials.username, credentials.principal) == ("", issuer.client_id)
    assert (credentials.provider, credentials.clock_skew) == ("oauth2", 0.0)
    assert issuer.fetches == 1


def test_what_is_asked_for(client: Build, issuer: OidcIssuer) -> None:
    """Scope, audience, resource and the user name at login go where they belong."""
    issuer.audiences = ["https://a.example", "https://r.example"]
    scope = " ".join(issuer.scopes[:2])
    credentials = client(
        scope=scope,
        audience="https://a.example",
        resource="https://r.example",
        username="celery",
    ).fetch(timeout=10)
    claims = unverified_claims(credentials.password)
    assert claims["scope"] == scope
    assert claims["aud"] == ["https://a.example", "https://r.example"]
    assert credentials.username == "celery"


def test_every_fetch_is_a_new_token(client: Build, issuer: OidcIssuer) -> None:
    """Nothing is remembered between fetches but the discovered endpoint."""
    provider = client()
    tokens = {provider.fetch(timeout=10).password for _ in range(3)}
    assert len(tokens) == issuer.fetches == 3


def test_the_identity_tells_who_and_what(client: Build) -> None:
    """Equal options make equal identities, different scopes different ones, secrets none."""
    assert client().identity == client(client_secret=SECRET).identity
    assert client().identity != client(scope="a").identity
    assert client().identity != client(username="a").identity
    assert SECRET not in client(client_secret=SECRET).identity
    assert client().shareable


@pytest.mark.parametrize("skew", [-3600.0, -30.0, 30.0, 3600.0])
def test_the_issuers_clock_is_noticed(client: Build, issuer: OidcIssuer, skew: float) -> None:
    """A token is good for its life on this host's clock, whatever the issuer's says."""
    issuer.faults.clock_skew = skew
    credentials = client().fetch(timeout=10)
    assert credentials.clock_skew == pytest.approx(skew, abs=10)
    assert credentials.remaining() == pytest.approx(issuer.token_lifetime, abs=15)
    assert credentials.lifetime == pytest.approx(issuer.token_lifetime, abs=2)


def test_a_difference_within_the_headers_precision_is_none(
    client: Build, issuer: OidcIssuer
) -> None:
    """A second more or less is what a header of whole seconds cannot tell."""
    issuer.faults.clock_skew = 1.0
    assert client().fetch(timeout=10).clock_skew == 0.0


def test_a_slow_answer_is_no_other_clock() -> None:
    """An answer is written at some moment between request and arrival, as its `Date` says."""
    headers = {"date": "Thu, 01 Jan 1970 00:16:40 GMT"}
    assert clock_skew(headers, 1000.0, 1012.0) == clock_skew(headers, 988.0, 1000.9) == 0.0
    assert clock_skew(headers, 1002.0, 1004.0) == pytest.approx(-2.5)


def test_opaque_tokens_end_as_the_answer_says(serve: Serve) -> None:
    """A token that cannot be read ends `expires_in` seconds after it was asked for."""
    content = {"access_token": "opaque", "expires_in": "60", "token_type": "bearer"}
    provider = asking(serve(lambda _: as_json(content)), token_format="opaque")
    credentials = provider.fetch(timeout=20)
    assert credentials.password.reveal() == "opaque"
    assert 40 < credentials.remaining() <= 60
    assert credentials.lifetime == pytest.approx(60)
    assert credentials.principal == "celery"


@pytest.mark.parametrize("odd", ["\0x", " x", "\ud800", "é", "x\r\ny"])
@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
def test_a_token_of_other_characters_is_refused(
    serve: Serve, issuer: OidcIssuer, token_format: str, odd: str
) -> None:
    """What no token consists of is an error of ours before any login, log or cache meets it."""
    content = {"access_token": issuer.mint() + odd, "expires_in": 60}
    error = failure(asking(serve(lambda _: as_json(content)), token_format=token_format))
    assert isinstance(error, InvalidCredentialError)


def test_a_clock_beyond_all_range(serve: Serve) -> None:
    """An issuer that lives in the year 9999 gives nothing that ends at a time."""
    content = {"access_token": "opaque", "expires_in": 60}
    server = serve(lambda _: as_json(content, Date="Fri, 31 Dec 9999 23:59:59 GMT"))
    error = failure(asking(server, token_format="opaque"))
    assert isinstance(error, InvalidCredentialError)
    assert "beyond the years 1 to 9999" in str(error)


@pytest.mark.parametrize("expires_in", [None, 0, -1])
def test_an_opaque_token_without_an_end_is_refused(serve: Serve, expires_in: object) -> None:
    """Nobody could renew in time what ends at an unknown moment."""
    content = {"access_token": "opaque", "expires_in": expires_in}
    error = failure(asking(serve(lambda _: as_json(content)), token_format="opaque"))
    assert isinstance(error, InvalidCredentialError)
    assert "expires_in" in str(error)
