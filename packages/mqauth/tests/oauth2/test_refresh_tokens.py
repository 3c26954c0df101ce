"""Whether the next refresh token is kept where an answer is late, never comes, or is broken."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from mqauth.errors import InvalidCredentialError, IssuerUnavailableError
from mqauth.providers import _oauth2_client, _oauth2_refresh
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.oauth2.building import Build, asking, failure
from packages.mqauth.tests.oauth2.servers import Serve, as_json

USER = "alice"


def test_an_answer_that_comes_late(client: Build, issuer: OidcIssuer, tmp_path: Path) -> None:
    """Whoever asked has given up, but the next token is kept, and nobody uses the old one again."""
    file = tmp_path / "refresh"
    first = issuer.refresh_tokens.issue(USER)
    file.write_text(first)
    provider = client(grant_type="refresh_token", refresh_token_file=file)
    provider.fetch(timeout=20)  # the endpoint is known from here on
    before = file.read_text()
    with issuer.faults.during("slow", delay=8.0):
        with pytest.raises(IssuerUnavailableError, match="no complete answer"):
            provider.fetch(timeout=0.5)
        assert file.read_text() == before
        with pytest.raises(IssuerUnavailableError):
            client(grant_type="refresh_token", refresh_token_file=file).fetch(timeout=0.5)
    deadline = time.monotonic() + 20
    while file.read_text() == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert file.read_text() != before
    assert provider.fetch(timeout=20).principal == USER
    assert issuer.fetches == 3


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"access_token": "x", "expires_in": "soon", "refresh_token": "next"}, "next"),
        ({"refresh_token": "next"}, "next"),
        ({"access_token": "x", "expires_in": 9, "refresh_token": "\ud800"}, "first"),
    ],
)
def test_an_answer_that_is_of_no_other_use(
    serve: Serve, tmp_path: Path, answer: dict[str, Any], kept: str
) -> None:
    """The next token is kept whatever else is wrong with the answer, if it can be one."""
    file = tmp_path / "refresh"
    file.write_text("first")
    server = serve(lambda _: as_json(answer))
    provider = asking(server, grant_type="refresh_token", refresh_token_file=file)
    assert isinstance(failure(provider), InvalidCredentialError)
    assert file.read_text().strip() == kept


def test_an_answer_that_never_comes(
    client: Build,
    issuer: OidcIssuer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The wait for a successor has an end, of which the log tells, and the lock is free again."""
    monkeypatch.setattr(_oauth2_client, "READING_ON", 1.5)
    monkeypatch.setattr(_oauth2_refresh, "SENDING", 0.2)
    file = tmp_path / "refresh"
    file.write_text(issuer.refresh_tokens.issue(USER))
    provider = client(grant_type="refresh_token", refresh_token_file=file)
    provider.fetch(timeout=20)
    with issuer.faults.during("hang"):
        failure(provider, timeout=0.5)
        deadline = time.monotonic() + 20
        while "its successor is lost" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
    assert f"{file}: the token endpoint" in caplog.text
    assert "its successor is lost, and somebody has to sign in anew" in caplog.text
    assert provider.fetch(timeout=20).principal == USER  # it was never used
