"""The provider static."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import ConfigurationError, InvalidCredentialError
from mqauth.provider import Provider


def build(**options: object) -> Provider:
    """Build the provider as a source does."""
    resolved = resolve("static", explicit=options, environ={})
    return provider_class("static").from_options(resolved.options)


def test_the_pair_never_expires() -> None:
    """User name and password come out as one credential without end."""
    provider = build(username="celery", password="canary")
    credentials = provider.fetch(timeout=1)
    assert (credentials.username, credentials.password.reveal()) == ("celery", "canary")
    assert math.isinf(credentials.remaining())
    assert (credentials.provider, credentials.principal) == ("static", "celery")
    assert provider.identity == "static user celery"
    assert not provider.shareable
    assert "canary" not in repr((provider, credentials, provider.identity))


def test_a_password_file_is_read_at_every_fetch(tmp_path: Path) -> None:
    """A password that somebody rotates on disk is seen by the next fetch."""
    file = tmp_path / "password"
    file.write_text("first\n")
    provider = build(username="celery", password_file=str(file))
    assert provider.fetch(timeout=1).password.reveal() == "first"
    file.write_text("second")
    credentials = provider.fetch(timeout=1)
    assert credentials.password.reveal() == "second"
    file.unlink()
    assert credentials.password.reveal() == "second"
    # It has been there, so it may just be being replaced: worth another attempt.
    with pytest.raises(InvalidCredentialError, match="No such file"):
        provider.fetch(timeout=1)
    with pytest.raises(ConfigurationError, match="No such file"):
        build(username="celery", password_file=str(file)).fetch(timeout=1)


@pytest.mark.parametrize("missing", ["username", "password"])
def test_both_halves_are_required(missing: str) -> None:
    """A user without a password is an error that names the option, and so the other way round."""
    given = {"username": "celery", "password": "canary"} | {missing: None}
    with pytest.raises(ConfigurationError, match=f"needs the option {missing}"):
        build(**given)
