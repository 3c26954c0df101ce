"""The provider oauth2: grants, proofs of identity, and refresh tokens that are replaced."""

from __future__ import annotations

import logging
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import (
    ConfigurationError,
    InvalidCredentialError,
    IssuerRefusedError,
    MQAuthError,
)
from mqauth.jwt_claims import unverified_claims
from mqauth.provider import Provider
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.tls import CertificateAuthority, CertificateFiles

USER, PASSWORD = "alice", "canary password of alice"

Build = Callable[..., Provider]


def build(**options: object) -> Provider:
    """Build the provider as a source does."""
    resolved = resolve("oauth2", explicit=options, environ={})
    return provider_class("oauth2").from_options(resolved.options)


@pytest.fixture
def client(issuer: OidcIssuer, certificates: CertificateFiles) -> Build:
    """Build providers that the issuer knows."""
    issuer.users[USER] = PASSWORD

    def make(**options: object) -> Provider:
        known = {
            "issuer": issuer.issuer_url,
            "client_id": issuer.client_id,
            "client_secret": issuer.client_secret,
            "ca_file": certificates.ca_file,
        }
        return build(**{**known, **options})

    return make


def failure(provider: Provider) -> MQAuthError:
    """Return the error of a fetch that must fail."""
    with pytest.raises(MQAuthError) as caught:
        provider.fetch(timeout=20)
    assert caught.value.remedy
    return caught.value


def test_the_password_grant(client: Build) -> None:
    """The token is the user's, not the client's, and the identity says whose."""
    provider = client(grant_type="password", owner_username=USER, owner_password=PASSWORD)
    tokens = [provider.fetch(timeout=20).password for _ in range(6)]
    assert {unverified_claims(token)["sub"] for token in tokens} == {USER}
    assert len(set(tokens)) == 6
    assert f"for user {USER}" in provider.identity
    assert PASSWORD not in provider.identity


def test_a_password_from_a_file(client: Build, tmp_path: Path) -> None:
    """The user's password may stand in a file, which is read anew each time."""
    file = tmp_path / "password"
    file.write_text("old\n")
    provider = client(grant_type="password", owner_username=USER, owner_password_file=file)
    assert isinstance(failure(provider), IssuerRefusedError)
    file.write_text(f"{PASSWORD}\n")
    assert provider.fetch(timeout=20).principal == USER


def test_a_refresh_token_in_a_file(client: Build, issuer: OidcIssuer, tmp_path: Path) -> None:
    """Each use writes the next token into the file, readable by its owner alone."""
    file = tmp_path / "refresh"
    file.write_text(issuer.refresh_tokens.issue(USER))
    seen = {file.read_text().strip()}
    for _ in range(3):  # a process that starts anew finds the newest one
        provider = client(grant_type="refresh_token", refresh_token_file=file)
        for _ in range(2):
            assert provider.fetch(timeout=20).principal == USER
            seen.add(file.read_text().strip())
        assert not any(token in provider.identity for token in seen)
    assert len(seen) == 7
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} <= {"refresh", "refresh.lock"}


def test_a_link_to_the_file_stays_a_link(client: Build, issuer: OidcIssuer, tmp_path: Path) -> None:
    """Where the path is a link, what it leads to is replaced."""
    (tmp_path / "real").mkdir()
    file = tmp_path / "real" / "refresh"
    file.write_text(issuer.refresh_tokens.issue(USER))
    (tmp_path / "link").symlink_to(file)
    before = file.read_text()
    client(grant_type="refresh_token", refresh_token_file=tmp_path / "link").fetch(timeout=20)
    assert (tmp_path / "link").is_symlink()
    assert file.read_text() != before


def test_many_users_of_one_file(client: Build, issuer: OidcIssuer, tmp_path: Path) -> None:
    """Providers that use one file at the same time never use a token twice."""
    file = tmp_path / "refresh"
    file.write_text(issuer.refresh_tokens.issue(USER))
    failures: list[MQAuthError] = []

    def use() -> None:
        provider = client(grant_type="refresh_token", refresh_token_file=file)
        for _ in range(3):
            try:
                provider.fetch(timeout=20)
            except MQAuthError as error:
                failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert issuer.fetches == 12


def test_a_refresh_token_in_memory(
    client: Build, issuer: OidcIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a file the next token stays in memory, and one warning says what that means."""
    token = issuer.refresh_tokens.issue(USER)
    provider = client(grant_type="refresh_token", refresh_token=token)
    with caplog.at_level(logging.WARNING, "mqauth"):
        for _ in range(6):
            assert provider.fetch(timeout=20).principal == USER
    assert len(caplog.records) == 1
    assert "give refresh_token_file" in caplog.text
    assert token not in caplog.text + provider.identity
    assert provider.identity != client(grant_type="refresh_token", refresh_token="x").identity


def test_an_issuer_that_keeps_refresh_tokens(
    client: Build, issuer: OidcIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nothing is replaced, nothing is kept or said."""
    issuer.refresh_tokens.rotate = False
    provider = client(grant_type="refresh_token", refresh_token=issuer.refresh_tokens.issue(USER))
    for _ in range(2):
        provider.fetch(timeout=20)
    assert not caplog.records


def test_a_file_that_cannot_be_written(
    client: Build,
    issuer: OidcIssuer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On a read-only mount it works from memory, says so, and follows a file that is replaced."""
    file = tmp_path / "refresh"
    first = issuer.refresh_tokens.issue(USER)
    file.write_text(first)

    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)  # root may write everywhere
    provider = client(grant_type="refresh_token", refresh_token_file=file)
    for _ in range(3):
        provider.fetch(timeout=20)
    assert file.read_text() == first
    assert "cannot be written" in caplog.text
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    file.write_text(issuer.refresh_tokens.issue("bob"))
    assert provider.fetch(timeout=20).principal == "bob"


def test_a_used_refresh_token(client: Build, issuer: OidcIssuer, tmp_path: Path) -> None:
    """A token that was used elsewhere is refused; the remedy is to sign in anew."""
    token = issuer.refresh_tokens.issue(USER)
    issuer.refresh_tokens.use(token)
    error = failure(client(grant_type="refresh_token", refresh_token=token))
    assert isinstance(error, IssuerRefusedError)
    assert "sign in anew" in str(error)
    (tmp_path / "refresh").write_text(token)
    error = failure(client(grant_type="refresh_token", refresh_token_file=tmp_path / "refresh"))
    assert f"sign in anew, and put the new one into the file {tmp_path / 'refresh'}" in str(error)
    assert "password" not in str(error)


def test_the_token_as_user_name(client: Build) -> None:
    """The token stands in both places, and shows in neither."""
    credentials = client(token_as="username").fetch(timeout=20)
    assert credentials.username == credentials.password.reveal()
    assert credentials.username not in repr(credentials)
    assert "as user name" in client(token_as="username").identity


def test_everything_that_is_missing_is_named_at_once() -> None:
    """One run is enough to learn all options, with their variables."""
    with pytest.raises(ConfigurationError) as caught:
        build(grant_type="password")
    for name in ("client_id", "client_secret", "owner_username", "owner_password", "issuer"):
        assert name in caught.value.message
        assert f"MQAUTH_OAUTH2_{name.upper()}" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"auth_method": "private_key_jwt"}, "private_key"),
        ({"auth_method": "tls_client_auth"}, "client_certificate_file"),
        ({"auth_method": "client_secret_post"}, "client_secret"),
        ({"grant_type": "refresh_token", "client_secret": "x"}, "refresh_token"),
    ],
)
def test_what_each_choice_needs(options: dict[str, Any], missing: str) -> None:
    """Each way to authenticate and each grant asks for what it uses."""
    with pytest.raises(ConfigurationError, match=f"needs the option {missing} with"):
        build(issuer="https://login.example.com", client_id="celery", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"auth_method": "magic"},
        {"grant_type": "magic"},
        {"token_as": "magic"},
        {"auth_method": "none"},
        {"token_as": "username", "username": "celery"},
    ],
)
def test_what_cannot_work(client: Build, options: dict[str, Any]) -> None:
    """Unknown words, and words that contradict each other, are refused before anything is sent."""
    with pytest.raises(ConfigurationError):
        client(**options)


@pytest.mark.parametrize(
    ("key", "complaint"), [("no key", "no private key in PEM"), (None, "encrypted")]
)
def test_keys_that_cannot_sign(
    client: Build, tmp_path: Path, key: str | None, complaint: str
) -> None:
    """A key that is none, or encrypted, is told without quoting it."""
    text = key or _encrypted_key()
    error = failure(client(auth_method="private_key_jwt", private_key=text))
    assert isinstance(error, ConfigurationError)
    assert complaint in str(error)
    assert "no key" not in str(error)


def test_an_rsa_key_of_too_few_bits(client: Build) -> None:
    """RFC 7518 (3.3) wants 2048: ours is the only word on it, and nothing is signed."""
    text = _pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))  # noqa: S505
    error = failure(client(auth_method="private_key_jwt", private_key=text))
    assert isinstance(error, ConfigurationError)
    assert "it has 1024 bits, and RSA keys must have 2048" in str(error)
    assert "at least 2048 bits" in str(error.remedy)


def test_an_algorithm_that_does_not_fit(client: Build) -> None:
    """An algorithm of another kind of key is refused with those that fit."""
    text = _pem(ec.generate_private_key(ec.SECP256R1()))
    error = failure(
        client(auth_method="private_key_jwt", private_key=text, signing_algorithm="RS256")
    )
    assert isinstance(error, ConfigurationError)
    assert "use ES256" in str(error)


def test_a_client_certificate_that_does_not_fit(client: Build, tmp_path: Path) -> None:
    """Certificate and key of mutual TLS are checked before anything is sent."""
    authority = CertificateAuthority()
    one, other = (authority.issue_client(tmp_path, name) for name in ("one", "other"))
    provider = client(
        auth_method="tls_client_auth",
        client_certificate_file=one.certificate_file,
        client_private_key_file=other.key_file,
    )
    error = failure(provider)
    assert isinstance(error, InvalidCredentialError)
    assert "does not fit" in str(error)


def _pem(key: Any, password: bytes | None = None) -> str:
    protection: Any = serialization.NoEncryption()
    if password is not None:
        protection = serialization.BestAvailableEncryption(password)
    text: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )
    return text.decode()


def _encrypted_key() -> str:
    return _pem(ec.generate_private_key(ec.SECP256R1()), b"password")
