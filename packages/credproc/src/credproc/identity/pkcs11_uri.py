"""PKCS#11 URIs: which token, which object on it, and where its PIN is (RFC 7512)."""

from __future__ import annotations

from credproc.errors import UsageError
from credproc.light import NamedTuple
from credproc.secret import Secret

SCHEME = "pkcs11:"

_PATH = (
    *("token", "manufacturer", "serial", "model", "object", "type", "id"),
    *("slot-description", "slot-manufacturer", "slot-id"),
    *("library-manufacturer", "library-description", "library-version"),
)
_QUERY = ("pin-source", "pin-value", "module-name", "module-path")
_TYPES = ("public", "private", "cert", "secret-key", "data")


class Pkcs11Uri(NamedTuple):
    """What a URI asks for; an attribute that it does not name is None and matches everything."""

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    object: str | None = None
    type: str | None = None
    id: bytes | None = None
    slot_description: str | None = None
    slot_manufacturer: str | None = None
    slot_id: int | None = None
    library_manufacturer: str | None = None
    library_description: str | None = None
    library_version: str | None = None
    pin_source: str | None = None
    pin_value: Secret | None = None
    module_name: str | None = None
    module_path: str | None = None

    @property
    def names_object(self) -> bool:
        """Whether it says which object of the token is meant."""
        return self.object is not None or self.id is not None

    def token_matches(self, **found: str) -> bool:
        """Return whether a token or slot is one that the URI may mean.

        Args:
            **found: What the token says of itself, by the names of the attributes here.
        """
        return all(getattr(self, name) in (None, value) for name, value in found.items())


def parse(text: str) -> Pkcs11Uri:
    """Read a URI.

    Raises:
        UsageError: It is none, or asks for something unknown. The text never shows a PIN.
    """
    if not text.startswith(SCHEME):
        raise UsageError("this is no PKCS#11 URI", remedy="begin it with pkcs11:")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    raw = {
        **_attributes(path, ";", _PATH),
        **_attributes(query, "&", _QUERY),
    }
    values: dict[str, str | bytes | int | Secret] = {
        name.replace("-", "_"): _text(name, value) for name, value in raw.items() if name != "id"
    }
    if "id" in raw:
        values["id"] = raw["id"]
    if "pin_value" in values:
        values["pin_value"] = Secret(str(values["pin_value"]))
    if "slot_id" in values:
        values["slot_id"] = _number(str(values["slot_id"]))
    if raw.get("type", b"cert").decode("ascii", "replace") not in _TYPES:
        raise UsageError("a PKCS#11 URI has an unknown type", remedy=_one_of(_TYPES))
    return Pkcs11Uri(**values)  # type: ignore[arg-type] # each converted to its attribute's kind


def _attributes(part: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for attribute in filter(None, part.split(separator)):
        name, equals, value = attribute.partition("=")
        if name.startswith("x-"):  # a vendor's own, which RFC 7512 lets us ignore
            continue
        if not equals or name not in known:
            raise UsageError(
                f"a PKCS#11 URI has {_shown(name)} where an attribute belongs",
                remedy=_one_of(known),
            )
        if name in found:
            raise UsageError(f"a PKCS#11 URI has {name} twice", remedy="leave one of them out")
        found[name] = _decoded(name, value)
    return found


def _decoded(name: str, value: str) -> bytes:
    first, *rest = value.encode().split(b"%")
    out = bytearray(first)
    for part in rest:
        try:
            out += bytes.fromhex(part[:2].decode()) if len(part) >= 2 else b""
        except ValueError:
            part = b""  # noqa: PLW2901 - falls through to the refusal below
        if len(part) < 2:
            raise UsageError(
                f"{name} in a PKCS#11 URI has a % that no two hexadecimal digits follow",
                remedy="write %25 for the character itself",
            )
        out += part[2:]
    return bytes(out)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{name} in a PKCS#11 URI is not UTF-8") from None


def _number(value: str) -> int:
    try:
        return int(value, 0)
    except ValueError:
        raise UsageError(
            f"slot-id in a PKCS#11 URI is {_shown(value)}", remedy="write a number"
        ) from None


def _shown(text: str) -> str:
    # What stands where a name belongs may be the rest of a PIN with an unescaped `&`.
    known = (*_PATH, *_QUERY)
    return repr(text) if text in known else f"something of {len(text)} characters"


def _one_of(names: tuple[str, ...]) -> str:
    return f"known: {', '.join(names)}"
