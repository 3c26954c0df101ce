"""Which of several certificates of one name is the issuer's, say after it was renewed."""

from __future__ import annotations

import time

from credproc.identity.certificate import Certificate
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def issuer_among(candidates: Sequence[Certificate], issued: Certificate) -> Certificate:
    """Return the one whose key has signed `issued`; of several such the first that is valid now.

    Args:
        candidates: Certificates whose subject is the issuer of `issued`.
        issued: The certificate below.
    """
    now = time.time()

    def merit(candidate: Certificate) -> tuple[bool, bool, bool]:
        valid = candidate.not_before <= now <= candidate.not_after
        return _has_signed(candidate, issued), valid, candidate.is_ca is True

    return max(candidates, key=merit)  # the first of equals


def _has_signed(candidate: Certificate, issued: Certificate) -> bool:
    from cryptography import x509  # 60 ms, for what is seldom
    from cryptography.exceptions import InvalidSignature

    try:
        above = x509.load_der_x509_certificate(candidate.der)
        below = x509.load_der_x509_certificate(issued.der)
        below.verify_directly_issued_by(above)
    except InvalidSignature:
        return False
    except Exception:  # noqa: BLE001 - a kind of key that it cannot verify with, say ML-DSA
        return _names_key(candidate, issued)
    return True


def _names_key(candidate: Certificate, issued: Certificate) -> bool:
    """Return whether `issued` says that the other's key has signed it (RFC 5280, 4.2.1.1)."""
    from cryptography import x509

    try:
        above = x509.load_der_x509_certificate(candidate.der).extensions
        below = x509.load_der_x509_certificate(issued.der).extensions
        wanted = below.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        return above.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == wanted
    except (ValueError, x509.ExtensionNotFound):
        return False
