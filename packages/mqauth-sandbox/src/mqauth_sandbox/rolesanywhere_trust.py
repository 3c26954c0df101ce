"""Whether a certificate may open sessions: what IAM Roles Anywhere asks of it and of its chain.

Source: IAM Roles Anywhere User Guide, "Trust model" (signature validation, the end-entity
certificate, intermediates), and RFC 5280, 6.1.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mqauth_sandbox.rolesanywhere_errors import RolesAnywhereError, denied, invalid

LARGEST_CERTIFICATE = 16 * 1024
"""Bytes of DER that the service takes for one certificate."""

Kind = TypeVar("Kind", bound=x509.ExtensionType)

_LONGEST_CHAIN = 5
_SMALLEST_RSA = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_ML_DSA_OIDS = frozenset(f"2.16.840.1.101.3.4.3.{number}" for number in (17, 18, 19))


def certificate_from_header(name: str, value: str) -> x509.Certificate:
    """Return the certificate in a header: the base64 of its DER, on one line.

    Raises:
        RolesAnywhereError: It is none, or too large.
    """
    try:
        der = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{name} is not valid base64") from None
    if len(der) > LARGEST_CERTIFICATE:
        raise invalid(f"{name}: the certificate exceeds {LARGEST_CERTIFICATE} bytes")
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        raise invalid(f"{name} is no DER encoded X.509 certificate") from None


def chain_from_header(value: str | None) -> list[x509.Certificate]:
    """Return the intermediates that came with the request, in the order they came.

    Raises:
        RolesAnywhereError: There are too many, or one is no certificate.
    """
    if value is None:
        return []
    parts = value.split(",")
    if len(parts) > _LONGEST_CHAIN:
        raise invalid(f"X-Amz-X509-Chain has more than {_LONGEST_CHAIN} certificates")
    return [certificate_from_header("X-Amz-X509-Chain", part) for part in parts]


def check_end_entity(certificate: x509.Certificate) -> None:
    """Check what the service asks of the certificate that signs a request.

    Raises:
        RolesAnywhereError: It is a CA, may not sign, is of version 1, or signed with a weak digest.
    """
    if certificate.version is not x509.Version.v3:
        raise _insufficient("it is not of version 3")
    _check_algorithms(certificate)
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise _insufficient("it is a CA's")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        raise _insufficient("its key usage lacks digitalSignature")


def check_chain(
    end_entity: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> None:
    """Check that the chain leads to an anchor, in the order given, and that each link is valid.

    Args:
        end_entity: The certificate that signed the request.
        intermediates: Its issuer first, then that one's issuer, and so on.
        anchors: What the trust anchor holds.
        now: Time on the service's clock.

    Raises:
        RolesAnywhereError: It does not.
    """
    _check_validity(end_entity, now)
    # The official helper begins the chain of a token with the end-entity certificate itself.
    links = [one for one in intermediates if one not in (*anchors, end_entity)]
    below = end_entity
    for position, link in enumerate(links):
        _check_authority(link, below, position, now)
        below = link
    for anchor in anchors:
        if _issued(below, anchor):
            _check_authority(anchor, below, len(links), now)
            return
    raise denied("Untrusted signing certificate")


def _check_authority(
    issuer: x509.Certificate, subject: x509.Certificate, below: int, now: datetime
) -> None:
    if not _issued(subject, issuer):
        raise denied("Untrusted signing certificate")
    _check_validity(issuer, now)
    _check_algorithms(issuer)
    constraints = _extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise denied("Untrusted signing certificate")
    if constraints.path_length is not None and constraints.path_length < below:
        raise denied("Untrusted signing certificate")
    usage = _extension(issuer, x509.KeyUsage)
    if usage is None or not usage.key_cert_sign:
        raise denied("Untrusted signing certificate")


def _issued(subject: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _check_validity(certificate: x509.Certificate, now: datetime) -> None:
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise denied("Untrusted certificate. Certificate is expired or not yet valid")


def _check_algorithms(certificate: x509.Certificate) -> None:
    if certificate.signature_algorithm_oid.dotted_string not in _ML_DSA_OIDS:
        try:
            digest = certificate.signature_hash_algorithm
        except UnsupportedAlgorithm:
            digest = None
        if digest is None or digest.name not in ("sha256", "sha384", "sha512"):
            raise _insufficient("it is not signed with SHA-256 or better")
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA:
        raise _insufficient("its RSA key is too short")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _CURVES:
        raise _insufficient("its curve is not supported")


def _extension(certificate: x509.Certificate, kind: type[Kind]) -> Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _insufficient(why: str) -> RolesAnywhereError:
    return denied(f"Untrusted certificate. Insufficient certificate: {why}")
