"""ML-DSA keys as OpenSSL 3.5 writes them: seed and expanded key together (RFC 9881, 6).

cryptography reads the form that holds the seed alone, which is all there is to the key: the
expanded half is computed from it.
"""

from __future__ import annotations

from credproc.identity import der
from credproc.identity.algorithms import ML_DSA

SEED_SIZE = 32
_SEED_TAG = 0x80  # [0] IMPLICIT OCTET STRING


def with_seed_alone(pkcs8: bytes) -> bytes | None:
    """Return a PKCS#8 key that cryptography reads for one that holds both forms.

    Args:
        pkcs8: DER of an unencrypted PKCS#8 key.

    Returns:
        The same key with its seed alone, or None if it is no ML-DSA key with a seed beside the
        expanded form.
    """
    try:
        version, algorithm, key = der.sequence(pkcs8)[:3]
        if der.oid(algorithm.children()[0]) not in ML_DSA or key.tag != der.OCTET_STRING:
            return None
        seed = der.sequence(key.content)[0]
    except (der.DerError, IndexError, ValueError):
        return None
    if seed.tag != der.OCTET_STRING or len(seed.content) != SEED_SIZE:
        return None
    inner = bytes([_SEED_TAG, SEED_SIZE]) + seed.content
    octets = bytes([der.OCTET_STRING, len(inner)]) + inner
    body = version.encoding + algorithm.encoding + octets
    return bytes([der.SEQUENCE, len(body)]) + body
