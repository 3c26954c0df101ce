"""What the service would refuse, said before anything is sent, with the remedy.

Source of the rules: the IAM Roles Anywhere User Guide, "Trust model", and RFC 5280.
"""

from __future__ import annotations

import time

from credproc.credentials import format_time
from credproc.errors import IdentityError
from credproc.identity import algorithms
from credproc.identity.certificate import DIGITAL_SIGNATURE, Certificate
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from credproc.identity.signer import Identity

LARGEST_CERTIFICATE = 16 * 1024


def check_certificate(certificate: Certificate, now: float | None = None) -> None:
    """Refuse an end-entity certificate that the service would refuse.

    Raises:
        IdentityError: It would.
    """
    for check in (_check_form, _check_algorithms, _check_usage):
        check(certificate)
    _check_validity(certificate, time.time() if now is None else now)


def check_identity(identity: Identity) -> None:
    """Refuse a key that does not belong to its certificate.

    Raises:
        IdentityError: It does not.
    """
    if identity.signer.public_key() != identity.certificate.public_key and not _same_key(
        identity.signer.public_key(), identity.certificate.public_key
    ):
        raise IdentityError(
            "the private key does not belong to the certificate: their public keys differ",
            remedy="name the key that the certificate was issued for; after a renewal both change",
        )


def check_chain(chain: tuple[Certificate, ...], now: float | None = None) -> None:
    """Refuse an intermediate certificate that is no authority or not valid now.

    Raises:
        IdentityError: There is one.
    """
    for certificate in chain:
        if certificate.is_ca is not True:
            raise IdentityError(
                "an intermediate certificate is no certificate authority (CA:false)",
                remedy="give --intermediates the certificates of authorities only",
            )
        _check_validity(certificate, time.time() if now is None else now, "intermediate ")


def _check_form(certificate: Certificate) -> None:
    if certificate.version != 3:
        raise IdentityError(
            f"the certificate is X.509 version {certificate.version}, Roles Anywhere takes 3 only",
            remedy="have it issued with extensions",
        )
    if len(certificate.der) > LARGEST_CERTIFICATE:
        raise IdentityError(
            f"the certificate has {len(certificate.der)} bytes, Roles Anywhere takes 16384",
            remedy="have it issued with fewer names",
        )


def _check_algorithms(certificate: Certificate) -> None:
    weak = algorithms.WEAK_SIGNATURES.get(certificate.signature_algorithm)
    if weak:
        raise IdentityError(
            f"the certificate is signed with {weak}, Roles Anywhere takes SHA-256 or better",
            remedy="have it issued again with SHA-256",
        )
    if algorithms.sigv4_algorithm(certificate.key_algorithm) is None:
        raise IdentityError(
            f"the certificate's key algorithm {certificate.key_algorithm} is unknown to Roles "
            "Anywhere",
            remedy="have it issued for an RSA, EC or ML-DSA key",
        )


def _check_usage(certificate: Certificate) -> None:
    if certificate.is_ca:
        raise IdentityError(
            "the certificate is a certificate authority's (CA:true)",
            remedy="name the host's own certificate with --certificate",
        )
    if certificate.key_usage is None:
        raise IdentityError(
            "the certificate has no keyUsage, Roles Anywhere wants digitalSignature",
            remedy="have it issued with keyUsage digitalSignature",
        )
    if not certificate.key_usage & DIGITAL_SIGNATURE:
        raise IdentityError(
            "the certificate's keyUsage lacks digitalSignature",
            remedy="have it issued with keyUsage digitalSignature",
        )


def _check_validity(certificate: Certificate, now: float, kind: str = "") -> None:
    clock = f"this host's clock says {format_time(now)}"
    if now > certificate.not_after:
        raise IdentityError(
            f"the {kind}certificate expired at {format_time(certificate.not_after)}, {clock}",
            remedy="renew it, or set the clock",
        )
    if now < certificate.not_before:
        raise IdentityError(
            f"the {kind}certificate is not valid before {format_time(certificate.not_before)}, "
            f"{clock}",
            remedy="set the clock, or wait",
        )


def _same_key(one: bytes, other: bytes) -> bool:
    """Compare two encodings that differ, as those of compressed points do, by what they mean."""
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    compare: Callable[[object, object], bool] = lambda a, b: a == b  # noqa: E731
    try:
        return compare(load_der_public_key(one), load_der_public_key(other))
    except Exception:  # noqa: BLE001 - a key that cannot be read is not the same
        return False
