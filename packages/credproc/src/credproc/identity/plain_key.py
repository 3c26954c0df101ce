"""Which private keys are as plain as can be: a common algorithm, whole, and not encrypted.

Only these take the short way (`identity.openssl_key`). Whatever else there is, and whatever looks
odd, goes the long way through `cryptography`, which knows all forms and says what is wrong.
"""

from __future__ import annotations

from credproc.identity import algorithms, der, pem
from credproc.light import NamedTuple

CURVES = {
    "1.2.840.10045.3.1.7": 32,  # P-256
    "1.3.132.0.34": 48,  # P-384
    "1.3.132.0.35": 66,  # P-521
}
"""The curves' object identifiers, and how many bytes a coordinate on each has."""

LABELS = ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")
ENCRYPTED = "ENCRYPTED PRIVATE KEY"
RSA_BITS = range(2048, 16385)
RSA_INTEGERS = 9
_CURVE, _POINT = 0xA0, 0xA1
_UNCOMPRESSED = b"\x00\x04"  # no unused bits, then RFC 5480's mark
_RSA_IDENTIFIER = bytes.fromhex("300d06092a864886f70d0101010500")
_EC_OID = bytes.fromhex("06072a8648ce3d0201")


class PlainKey(NamedTuple):
    """A private key that was found to be plain."""

    algorithm: str
    """The object identifier of RSA or of EC."""
    der: bytes
    """PKCS#8, PKCS#1 or SEC 1."""
    public: bytes
    """The public half that it names, as the DER encoding of a SubjectPublicKeyInfo."""


def find_plain_key(content: bytes) -> PlainKey | None:
    """Return the private key of a file, PEM or DER; None if it has none, or one that is not plain.

    It is the first key in the file, as on the long way.
    """
    try:
        found = pem.blocks(content)
        keys = [block for block in found if block.label in (*LABELS, ENCRYPTED)]
        if found and (not keys or keys[0].headers or keys[0].label == ENCRYPTED):
            return None
        return _read(keys[0].der if found else content)
    except (ValueError, IndexError):  # DerError and PemError among them
        return None


def _read(encoded: bytes) -> PlainKey | None:
    parts = _whole_sequence(encoded)
    if len(parts) == 3 and parts[1].tag == der.SEQUENCE and parts[2].tag == der.OCTET_STRING:
        return _read_pkcs8(encoded, parts)
    if len(parts) == RSA_INTEGERS:
        return _read_rsa(encoded, parts)
    return _read_ec(encoded, parts, curve=None)


def _read_pkcs8(encoded: bytes, parts: list[der.Element]) -> PlainKey | None:
    """Read a PKCS#8 structure (RFC 5208) without attributes."""
    version, identifier, key = parts
    if der.integer(version) != 0:
        return None
    inner = _whole_sequence(key.content)
    if identifier.encoding == _RSA_IDENTIFIER:
        return _read_rsa(encoded, inner)
    algorithm, curve = identifier.children()
    return _read_ec(encoded, inner, curve) if algorithm.encoding == _EC_OID else None


def _read_rsa(encoded: bytes, parts: list[der.Element]) -> PlainKey | None:
    """Read a PKCS#1 key of two primes (RFC 8017, A.1.2)."""
    if len(parts) != RSA_INTEGERS:
        return None
    version, modulus, exponent, *secrets = map(der.integer, parts)
    good = (
        version == 0
        and modulus.bit_length() in RSA_BITS
        and 2 < exponent < 2**33
        and exponent % 2 == 1
        and all(0 < secret < modulus for secret in secrets)
        and secrets[1] * secrets[2] == modulus
    )
    public = der.encode(der.SEQUENCE, parts[1].encoding + parts[2].encoding)
    public = _RSA_IDENTIFIER + der.encode(der.BIT_STRING, b"\x00" + public)
    return PlainKey(algorithms.RSA, encoded, der.encode(der.SEQUENCE, public)) if good else None


def _read_ec(
    encoded: bytes, parts: list[der.Element], curve: der.Element | None
) -> PlainKey | None:
    """Read a SEC 1 key (RFC 5915) on one of the curves, which is named here or was around it."""
    version, secret, *further = parts
    if curve is None or (further and further[0].tag == _CURVE):
        named = _whole(further.pop(0).content)
        if curve is not None and named != curve:
            return None
        curve = named
    point = _whole(further.pop(0).content)  # where it is left out, it takes the long way
    size = CURVES.get(der.oid(curve))
    good = (
        (version.tag, version.content) == (der.INTEGER, b"\x01")
        and secret.tag == der.OCTET_STRING
        and len(secret.content) == size
        and point.tag == der.BIT_STRING
        and point.content.startswith(_UNCOMPRESSED)
        and len(point.content) == len(_UNCOMPRESSED) + 2 * len(secret.content)
        and not further
    )
    public = der.encode(der.SEQUENCE, _EC_OID + curve.encoding) + point.encoding
    return PlainKey(algorithms.EC, encoded, der.encode(der.SEQUENCE, public)) if good else None


def _whole_sequence(data: bytes) -> list[der.Element]:
    """Return the elements of a sequence that is all there is."""
    element = _whole(data)
    if element.tag != der.SEQUENCE:
        raise der.DerError("no sequence")
    return element.children()


def _whole(data: bytes) -> der.Element:
    element = der.read(data)
    if len(element.encoding) != len(data):
        raise der.DerError("something follows")
    return element
