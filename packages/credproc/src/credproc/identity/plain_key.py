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
"""The curves' object identifiers, and how many bytes a private key on each has."""

LABELS = ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")
OTHER_LABELS = ("ENCRYPTED PRIVATE KEY",)
RSA_BITS = range(2048, 16385)
RSA_INTEGERS = 9
_CURVE, _POINT = 0xA0, 0xA1
_NULL = b"\x05\x00"


class PlainKey(NamedTuple):
    """A private key that was found to be plain."""

    algorithm: str
    """The object identifier of RSA or of EC."""
    der: bytes
    """PKCS#8, PKCS#1 or SEC 1."""


def find_plain_key(content: bytes) -> PlainKey | None:
    """Return the private key of a file, PEM or DER; None if it has none, or one that is not plain.

    It is the first key in the file, as on the long way.
    """
    try:
        found = pem.blocks(content)
        keys = [block for block in found if block.label in (*LABELS, *OTHER_LABELS)]
        if found and (not keys or keys[0].headers or keys[0].label not in LABELS):
            return None
        encoded = keys[0].der if found else content
        algorithm = _algorithm(encoded)
    except (ValueError, IndexError):  # DerError and PemError among them
        return None
    return PlainKey(algorithm, encoded) if algorithm is not None else None


def _algorithm(encoded: bytes) -> str | None:
    parts = _whole(encoded)
    if len(parts) == 3 and parts[1].tag == der.SEQUENCE and parts[2].tag == der.OCTET_STRING:
        return _pkcs8_algorithm(parts)
    if len(parts) == RSA_INTEGERS:
        return algorithms.RSA if _is_rsa(parts) else None
    return algorithms.EC if _is_ec(parts, curve=None) else None


def _pkcs8_algorithm(parts: list[der.Element]) -> str | None:
    """Return the algorithm of a PKCS#8 structure (RFC 5208)."""
    identifier = parts[1].children()
    if der.integer(parts[0]) != 0 or len(identifier) != 2:
        return None
    algorithm, inner = der.oid(identifier[0]), _whole(parts[2].content)
    if algorithm == algorithms.RSA:
        return algorithm if identifier[1].encoding == _NULL and _is_rsa(inner) else None
    if algorithm == algorithms.EC:
        return algorithm if _is_ec(inner, curve=identifier[1]) else None
    return None


def _is_rsa(parts: list[der.Element]) -> bool:
    """Return whether these are a PKCS#1 key of two primes (RFC 8017, A.1.2)."""
    if len(parts) != RSA_INTEGERS:
        return False
    version, modulus, exponent, *secrets = map(der.integer, parts)
    return (
        version == 0
        and modulus.bit_length() in RSA_BITS
        and 2 < exponent < 2**33
        and exponent % 2 == 1
        and all(2 < secret < modulus for secret in secrets)
        and secrets[1] * secrets[2] == modulus
    )


def _is_ec(parts: list[der.Element], curve: der.Element | None) -> bool:
    """Return whether these are a SEC 1 key (RFC 5915) on one of the curves, named once or twice."""
    if len(parts) < 2 or der.integer(parts[0]) != 1 or parts[1].tag != der.OCTET_STRING:
        return False
    further = {part.tag: _whole_element(part.content) for part in parts[2:]}
    named = further.pop(_CURVE, curve)
    point = further.pop(_POINT, None)
    if named is None or further or len(parts) != 2 + (_CURVE in _tags(parts)) + (point is not None):
        return False
    if curve is not None and named.encoding != curve.encoding:
        return False
    if point is not None and point.tag != der.BIT_STRING:
        return False
    return len(parts[1].content) == CURVES.get(der.oid(named))


def _tags(parts: list[der.Element]) -> list[int]:
    return [part.tag for part in parts]


def _whole(data: bytes) -> list[der.Element]:
    """Return the elements of a sequence that is all there is."""
    element = _whole_element(data)
    if element.tag != der.SEQUENCE:
        raise der.DerError("no sequence")
    return element.children()


def _whole_element(data: bytes) -> der.Element:
    element = der.read(data)
    if len(element.encoding) != len(data):
        raise der.DerError("something follows")
    return element
