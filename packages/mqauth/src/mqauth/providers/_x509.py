"""A client certificate and its private key, read from PEM files and checked against each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from mqauth.config.small_file import MAX_BYTES, read_limited, reason
from mqauth.durations import duration
from mqauth.errors import ConfigurationError, InvalidCredentialError, IssuerUnavailableError

_CLIENT_PURPOSES = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


class KeyMismatchError(InvalidCredentialError):
    """The private key is another certificate's; perhaps one file is renewed and one not yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateFacts:
    """What a certificate says.

    Args:
        subject: Its distinguished name (RFC 4514).
        fingerprint: Its SHA-256 digest in hexadecimal digits.
        valid_from: Start of its life.
        valid_until: End of its life.
    """

    subject: str
    fingerprint: str
    valid_from: datetime
    valid_until: datetime


def read_client_certificate(certificate_file: Path, private_key_file: Path) -> CertificateFacts:
    """Return what a client certificate says that is valid now and that the key belongs to.

    Raises:
        IssuerUnavailableError: A file is not there.
        InvalidCredentialError: A file holds something else, the certificate is not valid now or not
            for clients, or the key does not fit it.
        ConfigurationError: A file cannot be read, or the key is encrypted.
    """
    certificate = _certificate(certificate_file)
    key = _private_key(private_key_file)
    if certificate.public_key() != key.public_key():
        raise KeyMismatchError(
            f"the private key {private_key_file} does not fit the certificate {certificate_file}",
            remedy="write the two files that were issued together",
        )
    _check_purpose(certificate, certificate_file)
    _check_time(certificate, certificate_file)
    return CertificateFacts(
        subject=certificate.subject.rfc4514_string(),
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
    )


def _certificate(path: Path) -> x509.Certificate:
    content = _read(path, "certificate")
    try:
        # The first is the client's own; the others lead to its authority (RFC 8446, 4.4.2).
        return x509.load_pem_x509_certificates(content)[0]
    except ValueError:
        pass
    raise _unusable(path, "certificate", "holds no certificate in PEM")


def _private_key(path: Path) -> PrivateKeyTypes:
    content = _read(path, "private key")
    try:
        return load_pem_private_key(content, password=None)
    except TypeError:
        encrypted = True
    except (ValueError, UnsupportedAlgorithm):
        encrypted = False
    if encrypted:
        raise ConfigurationError(
            f"the private key {path} is encrypted",
            remedy="write it unencrypted into a file that only this user can read, or into memory",
        )
    raise _unusable(path, "private key", "holds no usable private key in PEM")


def _read(path: Path, what: str) -> bytes:
    try:
        content = read_limited(path)
    except (FileNotFoundError, NotADirectoryError):
        raise IssuerUnavailableError(
            f"the {what} file {path} does not exist",
            remedy="check the path, and that what issues the certificate is running",
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"the {what} file {path} cannot be read: {reason(error)}",
            remedy="name a file that this user may read",
        ) from None
    if len(content) > MAX_BYTES:
        raise _unusable(path, what, f"is larger than {MAX_BYTES} bytes")
    if not content.strip():
        raise _unusable(path, what, "is empty")
    return content


def _check_purpose(certificate: x509.Certificate, path: Path) -> None:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not _CLIENT_PURPOSES & set(purposes):
        raise InvalidCredentialError(
            f"the certificate {path} is not meant for clients (extended key usage)",
            remedy="have one issued with the usage clientAuth",
        )


def _check_time(certificate: x509.Certificate, path: Path) -> None:
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc <= now:
        ago = (now - certificate.not_valid_after_utc).total_seconds()
        raise InvalidCredentialError(
            f"the certificate {path} expired {duration(ago)} ago",
            remedy="see why it was not renewed, and compare this host's clock",
        )
    if certificate.not_valid_before_utc > now:
        ahead = (certificate.not_valid_before_utc - now).total_seconds()
        raise InvalidCredentialError(
            f"the certificate {path} becomes valid only in {duration(ahead)}",
            remedy="compare this host's clock with that of the certificate's authority",
        )


def _unusable(path: Path, what: str, problem: str) -> InvalidCredentialError:
    return InvalidCredentialError(
        f"the {what} file {path} {problem}", remedy="check what writes it"
    )
