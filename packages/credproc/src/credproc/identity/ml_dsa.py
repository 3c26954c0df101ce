"""ML-DSA private keys in the forms that `cryptography` does not read (RFC 9881, section 6).

The private key of a PKCS#8 structure is a choice: the seed `[0]`, the expanded key, or both. Other
programs also wrote the 32 bytes of the seed bare. The expanded key follows from the seed, so what
holds a seed becomes a structure with the seed alone.
"""

from __future__ import annotations

from credproc.errors import IdentityError
from credproc.identity import algorithms, der

SEED_LENGTH = 32
SEED_TAG = 0x80


def is_ml_dsa(pkcs8: bytes) -> bool:
    """Return whether DER is an unencrypted PKCS#8 structure with an ML-DSA key."""
    try:
        parts = der.sequence(pkcs8)
        is_private_key = len(parts) >= 3 and parts[2].tag == der.OCTET_STRING
        return is_private_key and der.oid(parts[1].children()[0]) in algorithms.ML_DSA
    except (der.DerError, IndexError):
        return False


def with_seed_alone(pkcs8: bytes, path: str) -> bytes:
    """Return a PKCS#8 structure rewritten to hold the seed alone.

    Args:
        pkcs8: One for which `is_ml_dsa` holds.
        path: Its file, for the message.

    Raises:
        IdentityError: It holds no seed.
    """
    version, algorithm, key = der.sequence(pkcs8)[:3]
    try:
        seed = _seed(key.content)
    except (der.DerError, IndexError):
        seed = None
    if seed is None:
        raise IdentityError(
            f"the private key {path} is an ML-DSA key without its seed",
            remedy="export it with its seed, as OpenSSL 3.5 writes it by default",
        )
    wrapped = _element(der.OCTET_STRING, _element(SEED_TAG, seed))
    return _element(der.SEQUENCE, version.encoding + algorithm.encoding + wrapped)


def _seed(content: bytes) -> bytes | None:
    if len(content) == SEED_LENGTH:
        return content
    choice = der.read(content)
    found = choice if choice.tag == SEED_TAG else None
    if choice.tag == der.SEQUENCE:
        found = choice.children()[0]
    return found.content if found and len(found.content) == SEED_LENGTH else None


def _element(tag: int, content: bytes) -> bytes:
    """Return the DER of a short element."""
    return bytes([tag, len(content)]) + content
