"""Distinguished names as text (RFC 2253), in the way that the official helper compares them."""

from __future__ import annotations

from credproc.identity import der

ATTRIBUTES = {
    "2.5.4.3": "CN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.17": "POSTALCODE",
}
SPECIAL = ',+"\\<>;'
UTF_16 = 0x1E
LATIN = 0x14
TEXT_TAGS = (0x0C, 0x13, 0x16, LATIN, UTF_16)


def rfc2253(name: bytes) -> str:
    """Return a name's relative names, the last first, joined by commas."""
    parts = []
    for relative in der.sequence(name):
        attributes = [_attribute(element) for element in relative.children()]
        parts.append("+".join(attributes))
    return ",".join(reversed(parts))


def _attribute(element: der.Element) -> str:
    kind, value = element.children()[:2]
    identifier = der.oid(kind)
    if identifier not in ATTRIBUTES or value.tag not in TEXT_TAGS:
        return f"{ATTRIBUTES.get(identifier, identifier)}=#{value.encoding.hex()}"
    encoding = {UTF_16: "utf-16-be", LATIN: "latin-1"}.get(value.tag, "utf-8")
    return f"{ATTRIBUTES[identifier]}={_escape(value.content.decode(encoding, 'replace'))}"


def _escape(text: str) -> str:
    escaped = "".join(f"\\{letter}" if letter in SPECIAL else letter for letter in text)
    if text.startswith((" ", "#")):
        escaped = "\\" + escaped
    if len(text) > 1 and text.endswith(" "):
        escaped = escaped[:-1] + "\\ "
    return escaped
