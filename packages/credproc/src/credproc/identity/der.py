"""As much of DER as a certificate and a key's envelope need (ITU-T X.690).

`cryptography.x509` reads everything, but takes longer to import than the whole signature; here only
what decides is read. Whatever looks strange is refused, and the service has the last word anyway.
"""

from __future__ import annotations

from credproc.light import NamedTuple

INTEGER, BIT_STRING, OCTET_STRING, OID = 0x02, 0x03, 0x04, 0x06
SEQUENCE, SET = 0x30, 0x31
UTC_TIME, GENERALIZED_TIME, BOOLEAN = 0x17, 0x18, 0x01


class DerError(ValueError):
    """The bytes are not DER, or not what was expected."""


class Element(NamedTuple):
    """One element: its tag, its content, and its whole encoding."""

    tag: int
    content: bytes
    encoding: bytes

    def children(self) -> list[Element]:
        """Return the elements inside."""
        return elements(self.content)


def read(data: bytes, start: int = 0) -> Element:
    """Return the element that begins at `start`.

    Raises:
        DerError: There is no whole element.
    """
    try:
        tag, first = data[start], data[start + 1]
    except IndexError:
        raise DerError("cut off") from None
    body = start + 2
    if tag & 0x1F == 0x1F:
        raise DerError("a tag of several bytes")
    length = first
    if first & 0x80:
        count = first & 0x7F
        if not 1 <= count <= 4 or body + count > len(data):
            raise DerError("a length that is none")
        length = int.from_bytes(data[body : body + count], "big")
        body += count
    end = body + length
    if end > len(data):
        raise DerError("cut off")
    return Element(tag, data[body:end], data[start:end])


def elements(data: bytes) -> list[Element]:
    """Return the elements that follow each other in `data`."""
    found = []
    position = 0
    while position < len(data):
        element = read(data, position)
        found.append(element)
        position += len(element.encoding)
    return found


def sequence(data: bytes) -> list[Element]:
    """Return the elements of the sequence that `data` begins with.

    Raises:
        DerError: It is no sequence.
    """
    element = read(data)
    if element.tag != SEQUENCE:
        raise DerError("no sequence")
    return element.children()


def encode(tag: int, content: bytes) -> bytes:
    """Return the encoding of an element."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content


def integer(element: Element) -> int:
    """Return the value of an INTEGER."""
    if element.tag != INTEGER or not element.content:
        raise DerError("no integer")
    return int.from_bytes(element.content, "big", signed=True)


def oid(element: Element) -> str:
    """Return the value of an OBJECT IDENTIFIER, dotted."""
    if element.tag != OID or not element.content or element.content[-1] & 0x80:
        raise DerError("no object identifier")
    arcs: list[int] = []
    value = 0
    for byte in element.content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def timestamp(element: Element) -> int:
    """Return the seconds since the epoch of a UTCTime or GeneralizedTime (RFC 5280, 4.1.2.5)."""
    text = element.content.decode("ascii", "replace")
    if element.tag == UTC_TIME:
        year = text[:2]
        text = ("20" if year < "50" else "19") + text
    elif element.tag != GENERALIZED_TIME:
        raise DerError("no time")
    if len(text) != 15 or text[14] != "Z" or not text[:14].isdigit():
        raise DerError("no time")
    day = (int(text[:4]), int(text[4:6]), int(text[6:8]))
    return seconds_since_epoch(day, (int(text[8:10]), int(text[10:12]), int(text[12:14])))


def seconds_since_epoch(date: tuple[int, int, int], clock: tuple[int, int, int]) -> int:
    """Return the seconds since the epoch of a UTC time; `calendar.timegm` without its imports.

    Args:
        date: Year, month and day.
        clock: Hour, minute and second.

    Raises:
        DerError: There is no such month or day.
    """
    year, month, day = date
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        raise DerError("no time")
    # Days since the epoch in the proleptic Gregorian calendar, years that begin in March.
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return ((days * 24 + clock[0]) * 60 + clock[1]) * 60 + clock[2]
