"""What of an X.509 certificate decides whether the service takes it (RFC 5280)."""

from __future__ import annotations

import binascii

from credproc.identity import der
from credproc.light import NamedTuple

BASIC_CONSTRAINTS = "2.5.29.19"
KEY_USAGE = "2.5.29.15"
DIGITAL_SIGNATURE = 0x80
_EXTENSIONS = 0xA3
_VERSION = 0xA0


class Certificate(NamedTuple):
    """A certificate as far as we need to understand it."""

    der: bytes
    version: int
    serial: int
    signature_algorithm: str
    """The object identifier, dotted."""
    issuer: bytes
    """The name's DER encoding."""
    subject: bytes
    not_before: int
    not_after: int
    """Seconds since the epoch."""
    public_key: bytes
    """The SubjectPublicKeyInfo's DER encoding."""
    key_algorithm: str
    is_ca: bool | None
    """None where basicConstraints is missing."""
    key_usage: int | None
    """The first byte of the keyUsage bits; None where the extension is missing."""

    @property
    def base64(self) -> str:
        """The base64 of the DER encoding, as headers carry it."""
        return binascii.b2a_base64(self.der, newline=False).decode()

    def key_bits(self) -> int | None:
        """Return the size of an RSA key's modulus in bits; None where it cannot be read."""
        try:
            bits = der.read(self.public_key).children()[1].content
            return der.integer(der.sequence(bits[1:])[0]).bit_length()
        except (ValueError, IndexError):  # DerError among them
            return None


def parse(data: bytes) -> Certificate:
    """Read a DER certificate.

    Raises:
        DerError: It is none.
    """
    whole = der.read(data)
    parts = whole.children()
    if whole.tag != der.SEQUENCE or len(parts) != 3:
        raise der.DerError("no certificate")
    fields = parts[0].children()
    version = 1
    if fields and fields[0].tag == _VERSION:
        version = der.integer(der.read(fields[0].content)) + 1
        del fields[0]
    if len(fields) < 6:
        raise der.DerError("no certificate")
    serial, algorithm, issuer, validity, subject, public_key = fields[:6]
    bounds = validity.children()
    if len(bounds) != 2:
        raise der.DerError("no validity")
    is_ca, key_usage = _extensions(fields[6:])
    return Certificate(
        der=whole.encoding,
        version=version,
        serial=der.integer(serial),
        signature_algorithm=_algorithm(algorithm),
        issuer=issuer.encoding,
        subject=subject.encoding,
        not_before=der.timestamp(bounds[0]),
        not_after=der.timestamp(bounds[1]),
        public_key=public_key.encoding,
        key_algorithm=_algorithm(der.read(public_key.content)),
        is_ca=is_ca,
        key_usage=key_usage,
    )


def _algorithm(element: der.Element) -> str:
    parts = element.children()
    if not parts:
        raise der.DerError("no algorithm")
    return der.oid(parts[0])


def _extensions(rest: list[der.Element]) -> tuple[bool | None, int | None]:
    is_ca: bool | None = None
    key_usage: int | None = None
    for field in rest:
        if field.tag != _EXTENSIONS:
            continue
        for extension in der.sequence(field.content):
            parts = extension.children()
            name, value = der.oid(parts[0]), parts[-1].content
            if name == BASIC_CONSTRAINTS:
                constraints = der.sequence(value)
                is_ca = bool(
                    constraints
                    and constraints[0].tag == der.BOOLEAN
                    and constraints[0].content != b"\x00"
                )
            elif name == KEY_USAGE:
                bits = der.read(value).content
                key_usage = bits[1] if len(bits) > 1 else 0
    return is_ca, key_usage
