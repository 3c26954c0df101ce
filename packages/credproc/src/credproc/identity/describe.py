"""What can be told of an identity: everything about it but what is secret."""

from __future__ import annotations

from credproc.credentials import format_time
from credproc.identity.algorithms import RSA, key_type, sigv4_algorithm
from credproc.identity.names import rfc2253
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from credproc.identity.certificate import Certificate
    from credproc.identity.signer import Identity

_SIGNERS = {"OpensslKey": "OpenSSL's libcrypto", "SoftwareKey": "cryptography"}


def describe_certificate(certificate: Certificate) -> str:
    """Return which certificate it is."""
    return (
        f"certificate: serial {certificate.serial} (0x{certificate.serial:X}), subject "
        f"{_name(certificate.subject)}, issuer {_name(certificate.issuer)}, valid from "
        f"{format_time(certificate.not_before)} to {format_time(certificate.not_after)}"
    )


def describe_key(identity: Identity) -> str:
    """Return of which kind the key is, and what signs with it."""
    algorithm = identity.signer.key_algorithm
    bits = identity.certificate.key_bits() if algorithm == RSA else None
    size = f" with {bits} bits" if bits else ""
    by = _SIGNERS.get(type(identity.signer).__name__, "its PKCS#11 token")
    return f"key: {key_type(algorithm)}{size}; {by} signs, {sigv4_algorithm(algorithm)}"


def describe_chain(identity: Identity) -> str:
    """Return what is sent with the certificate."""
    count = len(identity.chain)
    if not count:
        return "chain: no intermediate certificates are sent"
    names = ", then ".join(_name(each.subject) for each in identity.chain)
    return f"chain: {count} intermediate certificate{'s' * (count > 1)} sent: {names}"


def _name(encoded: bytes) -> str:
    """Return a name, with whatever cannot be shown escaped; a malformed one as it is."""
    try:
        return repr(rfc2253(encoded))
    except (ValueError, IndexError):  # DerError among them
        return f"#{encoded.hex()}"
