"""Where the client's secret of oauth2 comes from, where it goes, and where it never shows."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

import pytest

from mqauth.credentials import BrokerCredentials
from mqauth.errors import IssuerRefusedError
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.oauth2.building import SECRET, Build, asking, failure
from packages.mqauth.tests.oauth2.servers import Serve, as_json


def test_a_wrong_secret(client: Build, issuer: OidcIssuer) -> None:
    """The issuer's code and description are passed on, and asking again is not worth it."""
    error = failure(client(client_secret=SECRET))
    assert isinstance(error, IssuerRefusedError)
    assert "refused: HTTP 401 invalid_client: unknown client or wrong secret" in str(error)
    assert "client_secret" in str(error.remedy)
    assert not error.retryable
    assert issuer.fetches == 0


def test_a_secret_from_a_rotated_file(client: Build, issuer: OidcIssuer, tmp_path: Path) -> None:
    """A secret that is corrected on disk works at the next fetch."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    provider = client(client_secret=None, client_secret_file=file)
    assert isinstance(failure(provider), IssuerRefusedError)
    file.write_text(f"{issuer.client_secret}\n")
    assert provider.fetch(timeout=10).remaining() > 0


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        base64.b64encode(f"celery:{SECRET}".encode()).decode(),
        base64.b64encode(SECRET.encode()).decode(),
        "canary%2Fsecret%2Bwith%3Dsigns",
        "canary%2fsecret%2bwith%3dsigns",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2ln",
    ],
)
@pytest.mark.parametrize("field", ["error", "error_description"])
def test_an_echoed_secret_is_scrubbed(serve: Serve, field: str, echo: str) -> None:
    """Whatever an issuer repeats of what it got, in whichever encoding, no error shows it."""
    answer = {"error": "invalid_client", field: f"bad\x1b[31m '{echo}'\n{'x' * 5000}"}
    error = failure(asking(serve(lambda _: as_json(answer, 400))))
    assert isinstance(error, IssuerRefusedError)
    assert echo not in str(error)
    assert "********" in str(error)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 800


def test_a_secret_in_the_reason_phrase(serve: Serve) -> None:
    """The words behind the status are the issuer's, too."""
    server = serve(lambda _: (403, {}, b"no"), reason=f"no {SECRET}")
    error = failure(asking(server))
    assert "HTTP 403 no ********" in str(error)


def test_redirects_are_not_followed(serve: Serve) -> None:
    """A secret goes to the configured address and to no other."""
    elsewhere = serve(lambda _: as_json({}))
    server = serve(lambda _: (307, {"Location": f"{elsewhere.url}/token"}, b""))
    error = failure(asking(server))
    assert "redirect" in str(error)
    assert elsewhere.requests == []
    assert len(server.requests) == 1


def test_netrc_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    """A password in ~/.netrc for the issuer's host is not sent to it."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password canary\n")
    (tmp_path / ".netrc").chmod(0o600)
    server = serve(lambda _: as_json({}, 404))
    failure(asking(server, issuer=server.url))
    assert [authorization for _, authorization in server.requests] == [None]


@pytest.mark.parametrize("auth_method", ["client_secret_basic", "client_secret_post"])
def test_a_secret_of_any_characters(issuer: OidcIssuer, client: Build, auth_method: str) -> None:
    """Each character reaches the issuer, form-encoded in basic as RFC 6749 (2.3.1) says."""
    plain, issuer.client_secret = issuer.client_secret, "per%cent+plus:colon /€ü"
    try:
        provider = client(client_secret=issuer.client_secret, auth_method=auth_method)
        assert provider.fetch(timeout=10).password
    finally:
        issuer.client_secret = plain


def test_no_secret_in_any_log(
    client: Build, issuer: OidcIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG, neither secret nor token shows in what any library logs."""
    caplog.set_level(logging.DEBUG)
    fetched: list[BrokerCredentials] = []
    for auth_method in ("client_secret_basic", "client_secret_post"):
        provider = client(auth_method=auth_method)
        fetched.append(provider.fetch(timeout=10))
        with issuer.faults.during("error500"):
            failure(provider)
    pair = base64.b64encode(f"{issuer.client_id}:{issuer.client_secret}".encode()).decode()
    logged = "\n".join(_everything(record) for record in caplog.records)
    assert "/oauth/token" in logged
    for secret in (issuer.client_secret, pair, *(found.password.reveal() for found in fetched)):
        assert secret not in logged


def _everything(record: logging.LogRecord) -> str:
    values: dict[str, Any] = vars(record)
    return f"{logging.Formatter().format(record)} {values!r}"
