"""ML-DSA keys that hold seed and expanded key."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from credproc.errors import IdentityError
from credproc.identity import der
from credproc.identity.ml_dsa import is_ml_dsa, with_seed_alone

mldsa = pytest.importorskip(
    "cryptography.hazmat.primitives.asymmetric.mldsa",
    reason="this release of cryptography has no ML-DSA",
)
SEED = bytes(range(32))
KINDS: dict[int, tuple[Any, int]] = {
    17: (mldsa.MLDSA44PrivateKey, 2560),
    18: (mldsa.MLDSA65PrivateKey, 4032),
    19: (mldsa.MLDSA87PrivateKey, 4896),
}


def element(tag: int, content: bytes) -> bytes:
    """Return the DER of one element with a length of up to two bytes."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    return bytes([tag, 0x82]) + size.to_bytes(2, "big") + content


def both(last_arc: int, seed: bytes, expanded: bytes) -> bytes:
    """Return a PKCS#8 key that holds seed and expanded key, as OpenSSL 3.5 writes it."""
    oid = bytes.fromhex("608648016503040300")[:-1] + bytes([last_arc])
    algorithm = element(der.SEQUENCE, element(der.OID, oid))
    halves = element(der.OCTET_STRING, seed) + element(der.OCTET_STRING, expanded)
    key = element(der.OCTET_STRING, element(der.SEQUENCE, halves))
    return element(der.SEQUENCE, bytes([der.INTEGER, 1, 0]) + algorithm + key)


@pytest.mark.parametrize("last_arc", KINDS)
def test_the_seed_is_the_key(last_arc: int) -> None:
    """The key that comes out is the one that cryptography makes of the seed."""
    kind, size = KINDS[last_arc]
    written = both(last_arc, SEED, bytes(size))
    assert is_ml_dsa(written)
    rewritten = with_seed_alone(written, "host.key")
    key = load_der_private_key(rewritten, None)
    wanted = kind.from_seed_bytes(SEED)
    assert isinstance(key, kind)
    assert key.public_key() == wanted.public_key()


def test_other_keys_are_left_alone() -> None:
    """Other algorithms and noise are none, and a seed of another length is no seed."""
    theirs = ec.generate_private_key(ec.SECP256R1())
    form = theirs.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for other in (form, b"", b"\x30", both(20, SEED, b"")):
        assert not is_ml_dsa(other)
    with pytest.raises(IdentityError, match="without its seed"):
        with_seed_alone(both(18, SEED[:31], b""), "host.key")
