"""`--cert-selector`: chooses among certificates by subject, issuer and serial number.

The official helper's two forms: `Key=x509Subject,Value=CN=host Key=x509Serial,Value=1F`, or
`file://PATH` with `[{"Key": "x509Subject", "Value": "CN=host"}]`.
"""

from __future__ import annotations

import json
from typing import Any

from credproc.errors import UsageError
from credproc.files import read_file
from credproc.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from credproc.identity.certificate import Certificate

KEYS = ("x509Subject", "x509Issuer", "x509Serial")
FILE = "file://"


class Selector(NamedTuple):
    """What a certificate has to have; None matches everything."""

    subject: str | None = None
    issuer: str | None = None
    serial: int | None = None


def parse_selector(text: str) -> Selector:
    """Read a selector.

    Raises:
        UsageError: It is none.
    """
    if text.startswith(FILE):
        pairs = _pairs_of_file(text.removeprefix(FILE))
    else:
        pairs = _pairs_of_text(text)
    found: dict[str, str] = {}
    for key, value in pairs:
        if key not in KEYS or key in found:
            problem = "has twice" if key in found else "has the unknown key"
            raise _wrong(f"{problem} {key!r}")
        found[key] = value
    serial = found.get("x509Serial")
    try:
        number = int(serial, 16) if serial is not None else None
    except ValueError:
        raise _wrong("has a serial number that is not hexadecimal") from None
    return Selector(found.get("x509Subject"), found.get("x509Issuer"), number)


def _pairs_of_text(text: str) -> list[tuple[str, str]]:
    pairs = []
    for part in text.split("Key=")[1:]:
        key, separator, value = part.rstrip().partition(",Value=")
        if not separator:
            raise _wrong("has a key without a value")
        pairs.append((key, value))
    if not pairs or not text.lstrip().startswith("Key="):
        raise _wrong("is not understood")
    return pairs


def _pairs_of_file(path: str) -> list[tuple[str, str]]:
    try:
        document: Any = json.loads(read_file(path, "certificate selector"))
        return [(str(entry["Key"]), str(entry["Value"])) for entry in document]
    except (ValueError, TypeError, KeyError):
        raise _wrong(f"in {path} is not a list of Key and Value") from None


def _wrong(problem: str) -> UsageError:
    return UsageError(
        f"--cert-selector {problem}",
        remedy=f"write Key=...,Value=... with {', '.join(KEYS)}, or file:// and a JSON file",
    )


def matching(selector: Selector, certificates: Sequence[Certificate]) -> list[Certificate]:
    """Return the certificates that a selector chooses."""
    return [
        certificate
        for certificate in certificates
        if selector.subject in (None, name_text(certificate.subject))
        and selector.issuer in (None, name_text(certificate.issuer))
        and selector.serial in (None, certificate.serial)
    ]


def describe(certificate: Certificate) -> str:
    """Return the lines in which the official helper shows a certificate."""
    import hashlib

    fingerprint = hashlib.sha1(certificate.der, usedforsecurity=False).hexdigest()
    return (
        f"Hex Fingerprint: {fingerprint}\n"
        f"Subject: {name_text(certificate.subject)}\n"
        f"Issuer: {name_text(certificate.issuer)}\n"
        f"Serial Number: {certificate.serial:X}\n"
    )


def name_text(name: bytes) -> str:
    """Return a distinguished name as RFC 2253 writes it, which is how the helper compares it."""
    from credproc.identity.names import rfc2253

    return rfc2253(name)
