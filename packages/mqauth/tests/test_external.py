"""The provider external, with certificates of a real authority."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import (
    ConfigurationError,
    InvalidCredentialError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth.provider import Provider
from mqauth_sandbox.tls import CertificateAuthority, ClientCertificateFiles


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    """An authority that issues client certificates."""
    return CertificateAuthority()


@pytest.fixture
def files(authority: CertificateAuthority, tmp_path: Path) -> ClientCertificateFiles:
    """A certificate and its key."""
    return authority.issue_client(tmp_path, "celery")


def build(certificate: Path, key: Path | None = None) -> Provider:
    """Build the provider as a source does."""
    options = {"certificate_file": certificate, "private_key_file": key}
    resolved = resolve("external", explicit=options, environ={})
    return provider_class("external").from_options(resolved.options)


def failure(provider: Provider, timeout: float = 0.2) -> MQAuthError:
    """Return the error of a fetch that must fail."""
    with pytest.raises(MQAuthError) as caught:
        provider.fetch(timeout=timeout)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return caught.value


def test_a_certificate_becomes_a_credential(files: ClientCertificateFiles) -> None:
    """Its life, name and fingerprint are what OpenSSL reads from it, too."""
    provider = build(files.certificate_file, files.key_file)
    credentials = provider.fetch(timeout=1)
    asked = ["-noout", "-fingerprint", "-sha256", "-enddate", "-dateopt", "iso_8601"]
    said = subprocess.run(
        ["/usr/bin/openssl", "x509", "-in", str(files.certificate_file), *asked],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    facts = dict(line.partition("=")[::2] for line in said.splitlines())
    ends = datetime.fromisoformat(facts["notAfter"])
    assert credentials.expires_at == ends
    assert credentials.password.reveal() == facts["sha256 Fingerprint"].replace(":", "").lower()
    assert str(credentials.principal).startswith("CN=celery,")
    assert credentials.username == ""
    assert credentials.certificate is not None
    assert credentials.certificate.certificate_file == files.certificate_file
    assert credentials.certificate.private_key_file == files.key_file
    assert str(files.certificate_file) in provider.identity
    assert not provider.shareable


def test_one_file_may_hold_both(files: ClientCertificateFiles, tmp_path: Path) -> None:
    """Certificate and key may stand in one file, in either order."""
    both = tmp_path / "both.pem"
    both.write_bytes(files.key_file.read_bytes() + files.certificate_file.read_bytes())
    credentials = build(both).fetch(timeout=1)
    assert credentials.certificate is not None
    assert credentials.certificate.private_key_file is None


def test_five_renewals(authority: CertificateAuthority, tmp_path: Path) -> None:
    """What has been renewed on disk is what the next fetch returns."""
    files = authority.issue_client(tmp_path, "celery")
    provider = build(files.certificate_file, files.key_file)
    seen = {provider.fetch(timeout=1).password}
    for _ in range(5):
        authority.issue_client(tmp_path, "celery")
        seen.add(provider.fetch(timeout=1).password)
    assert len(seen) == 6


def test_a_pair_that_is_being_replaced_is_waited_for(
    authority: CertificateAuthority, files: ClientCertificateFiles, tmp_path: Path
) -> None:
    """Between one file and the other a moment may pass; it is no failure."""
    new = authority.issue_client(tmp_path / "new", "celery")
    new.key_file.rename(files.key_file)
    timer = threading.Timer(0.2, lambda: new.certificate_file.rename(files.certificate_file))
    timer.start()
    credentials = build(files.certificate_file, files.key_file).fetch(timeout=5)
    timer.join()
    assert credentials.remaining() > 0


def test_a_key_that_does_not_fit(
    authority: CertificateAuthority, files: ClientCertificateFiles, tmp_path: Path
) -> None:
    """Another certificate's key is refused, as what may still be put right on disk."""
    other = authority.issue_client(tmp_path, "other")
    error = failure(build(files.certificate_file, other.key_file))
    assert isinstance(error, InvalidCredentialError)
    assert "does not fit the certificate" in str(error)
    assert error.retryable


def test_a_missing_file_may_still_come(files: ClientCertificateFiles, tmp_path: Path) -> None:
    """Files that are not there yet are worth waiting for."""
    for certificate, key in (
        (tmp_path / "none", files.key_file),
        (files.certificate_file, tmp_path / "none"),
    ):
        error = failure(build(certificate, key))
        assert isinstance(error, IssuerUnavailableError)
        assert f"{tmp_path / 'none'} does not exist" in str(error)


@pytest.mark.parametrize("which", ["certificate", "key"])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"x" * 70_000, "larger than"),
        (b"\xff\xfe", "in PEM"),
        (b"<xml/>", "in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "in PEM"),
    ],
)
def test_unusable_content(
    files: ClientCertificateFiles, which: str, content: bytes, complaint: str
) -> None:
    """An empty, huge, binary, foreign or half-written file is an error that may pass."""
    path = files.certificate_file if which == "certificate" else files.key_file
    path.write_bytes(content)
    error = failure(build(files.certificate_file, files.key_file))
    assert isinstance(error, InvalidCredentialError)
    assert complaint in str(error)
    assert str(path) in str(error)


def test_an_encrypted_key(files: ClientCertificateFiles) -> None:
    """Nobody could type its password in: that is for the user to change."""
    key = serialization.load_pem_private_key(files.key_file.read_bytes(), password=None)
    files.key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    error = failure(build(files.certificate_file, files.key_file))
    assert isinstance(error, ConfigurationError)
    assert "is encrypted" in str(error)


def test_a_pipe_does_not_block(files: ClientCertificateFiles, tmp_path: Path) -> None:
    """Something that is no file is refused at once."""
    os.mkfifo(tmp_path / "pipe")
    error = failure(build(tmp_path / "pipe", files.key_file))
    assert isinstance(error, ConfigurationError)
    assert "not a regular file" in str(error)


@pytest.mark.parametrize(
    ("lifetime", "complaint"), [(-60, r"expired 1 min \d s ago"), (120, "becomes valid only in")]
)
def test_outside_its_life(
    authority: CertificateAuthority, tmp_path: Path, lifetime: float, complaint: str
) -> None:
    """A certificate that is over, or not yet valid, is not handed out."""
    early = -60.0 if lifetime > 0 else 0.0
    files = authority.issue_client(tmp_path, "celery", lifetime, valid_for=early)
    error = failure(build(files.certificate_file, files.key_file))
    with pytest.raises(InvalidCredentialError, match=complaint):
        raise error


@pytest.fixture
def self_signed(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a self-signed certificate and its key into one file."""

    def make(
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
        usage: x509.ObjectIdentifier | None = None,
    ) -> Path:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "celery")])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(minutes=1))
        )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        path = tmp_path / "self-signed.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return path

    return make


def test_keys_of_either_kind(self_signed: Callable[..., Path]) -> None:
    """RSA and elliptic-curve keys fit their certificates, with or without a stated usage."""
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        for usage in (None, ExtendedKeyUsageOID.CLIENT_AUTH):
            assert build(self_signed(key, usage)).fetch(timeout=1).principal == "CN=celery"


def test_a_servers_certificate(self_signed: Callable[..., Path]) -> None:
    """Brokers refuse a certificate that is meant for servers alone; so we say it first."""
    key = ec.generate_private_key(ec.SECP256R1())
    error = failure(build(self_signed(key, ExtendedKeyUsageOID.SERVER_AUTH)))
    assert isinstance(error, InvalidCredentialError)
    assert "not meant for clients" in str(error)
