"""The provider token-file."""

from __future__ import annotations

import base64
import math
import os
from pathlib import Path

import pytest

from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import ConfigurationError, InvalidCredentialError, IssuerUnavailableError
from mqauth.provider import Provider
from mqauth_sandbox.oidc import OidcIssuer


def build(path: Path, **options: object) -> Provider:
    """Build the provider as a source does."""
    resolved = resolve("token-file", explicit={"path": path, **options}, environ={})
    return provider_class("token-file").from_options(resolved.options)


def test_a_jwt_brings_its_times(tmp_path: Path, issuer: OidcIssuer) -> None:
    """A JWT with white space around it becomes a credential that ends when the token does."""
    file = tmp_path / "token"
    token = issuer.mint(lifetime=60)
    file.write_text(f"\n  {token}\n\n")
    credentials = build(file, username="celery").fetch(timeout=1)
    assert credentials.password.reveal() == token
    assert credentials.username == "celery"
    assert 45 <= credentials.remaining() <= 60
    assert 59 <= credentials.lifetime <= 61
    assert credentials.principal == issuer.client_id


def test_a_jwt_with_a_spaced_header_ends_too(tmp_path: Path, issuer: OidcIssuer) -> None:
    """The header's JSON may be written in any way."""
    _, claims, signature = issuer.mint(lifetime=60).split(".")
    header = base64.urlsafe_b64encode(b'{\n "alg": "RS256"\n}').rstrip(b"=").decode()
    file = tmp_path / "token"
    file.write_text(f"{header}.{claims}.{signature}")
    assert 30 <= build(file).fetch(timeout=1).remaining() <= 60
    file.write_text(f"{header}.{claims[:20]}")
    with pytest.raises(InvalidCredentialError, match="no JWT"):
        build(file).fetch(timeout=1)


def test_a_token_whose_signature_is_cut_off(tmp_path: Path, issuer: OidcIssuer) -> None:
    """A part of a signature that cannot be all of it is told from a token."""
    header, claims, signature = issuer.mint().split(".")
    file = tmp_path / "token"
    file.write_text(f"{header}.{claims}.{signature[:101]}")
    with pytest.raises(InvalidCredentialError, match="not all of it is there"):
        build(file).fetch(timeout=1)


def test_the_file_is_read_at_every_fetch(tmp_path: Path, issuer: OidcIssuer) -> None:
    """What something else has written since is what the next fetch returns."""
    file = tmp_path / "token"
    provider = build(file)
    for _ in range(2):
        token = issuer.mint()
        file.write_text(token)
        assert provider.fetch(timeout=1).password.reveal() == token


def test_an_opaque_token_has_no_end(tmp_path: Path) -> None:
    """A token that is no JWT is passed on as it is."""
    file = tmp_path / "token"
    file.write_text("an.opaque.token")
    credentials = build(file).fetch(timeout=1)
    assert credentials.password.reveal() == "an.opaque.token"
    assert credentials.username == ""
    assert math.isinf(credentials.remaining())


def test_it_is_not_shared_through_the_cache(tmp_path: Path) -> None:
    """Reading a file is as cheap as reading the cache."""
    provider = build(tmp_path / "token")
    assert not provider.shareable
    assert str(tmp_path / "token") in provider.identity


def test_a_missing_file_may_still_come(tmp_path: Path) -> None:
    """A file that is not there yet is worth waiting for."""
    with pytest.raises(IssuerUnavailableError, match="does not exist") as caught:
        build(tmp_path / "token").fetch(timeout=1)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"x" * 70_000, "larger than"),
        (b"\xff\xfe", "not UTF-8"),
        (b"abc\x01def", "characters that no token has"),
        (b"abc def", "characters that no token has"),
        (b"\xef\xbb\xbfabc", "characters that no token has"),
        ("tökén".encode(), "characters that no token has"),
        (b"eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3", "no JWT"),
        (b"eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3.c2ln", "no JWT"),
    ],
)
def test_unusable_content_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    """An empty, huge, binary or half-written file is an error that may pass."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(InvalidCredentialError, match=complaint) as caught:
        build(file).fetch(timeout=1)
    assert caught.value.retryable


def test_an_expired_token_is_refused(tmp_path: Path, issuer: OidcIssuer) -> None:
    """A token that nobody renewed in time is not handed out."""
    file = tmp_path / "token"
    file.write_text(issuer.mint(lifetime=-60))
    with pytest.raises(InvalidCredentialError, match=r"expired 1 min \d s ago"):
        build(file).fetch(timeout=1)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    """Something that is no file is refused at once."""
    os.mkfifo(tmp_path / "token")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        build(tmp_path / "token").fetch(timeout=1)
