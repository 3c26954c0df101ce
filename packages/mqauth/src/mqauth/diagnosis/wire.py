"""AMQP 0-9-1 on the wire, as much of it as looking at a broker takes.

Source: AMQP 0-9-1, "Protocol Specification", 4.2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, CONTENT_HEADER, HEARTBEAT = 1, 2, 8
FRAME_END = 0xCE
MAX_FRAME = 1024 * 1024

Value = str | int | bool | None | dict[str, "Value"]


class NotAmqpError(Exception):
    """What came is no AMQP 0-9-1."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        kind: Its type.
        channel: The channel that it is on.
        payload: What it carries.
    """

    kind: int
    channel: int
    payload: bytes

    @property
    def method(self) -> tuple[int, int]:
        """Class and method, of a frame with a method."""
        found: tuple[int, int] = struct.unpack_from("!HH", self.payload)
        return found


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Return a frame as bytes."""
    return struct.pack("!BHI", kind, channel, len(payload)) + payload + bytes([FRAME_END])


def short(text: str) -> bytes:
    """Return a short string."""
    encoded = text.encode()[:255]
    return bytes([len(encoded)]) + encoded


def long(text: str | bytes) -> bytes:
    """Return a long string."""
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("!I", len(encoded)) + encoded


def table(values: Mapping[str, Value]) -> bytes:
    """Return a field table of texts, truth values, integers and tables."""
    fields = b"".join(short(name) + _field(value) for name, value in values.items())
    return struct.pack("!I", len(fields)) + fields


def _field(value: Value) -> bytes:
    if isinstance(value, bool):
        return b"t" + bytes([value])
    if isinstance(value, int):
        return b"I" + struct.pack("!i", value)
    if isinstance(value, dict):
        return b"F" + table(value)
    return b"V" if value is None else b"S" + long(value)


class Reader:
    """Reads values off a payload, one after the other.

    Args:
        payload: What to read.
        position: Where to begin.
    """

    def __init__(self, payload: bytes, position: int = 4) -> None:
        """Begin after class and method."""
        self._payload = payload
        self._position = position

    def number(self, form: str) -> int:
        """Read a number of a form of `struct`."""
        size = struct.calcsize(f"!{form}")
        return int(struct.unpack(f"!{form}", self._take(size))[0])

    def short(self) -> str:
        """Read a short string."""
        return self._take(self.number("B")).decode(errors="replace")

    def long(self) -> str:
        """Read a long string."""
        return self._take(self.number("I")).decode(errors="replace")

    def table(self) -> dict[str, Value]:
        """Read a field table; values that say nothing here are None."""
        end = self.number("I") + self._position
        values: dict[str, Value] = {}
        while self._position < end:
            name = self.short()
            values[name] = self._value()
        return values

    def _value(self) -> Value:
        kind = self._take(1)
        if kind == b"F":
            return self.table()
        if kind == b"S":
            return self.long()
        if kind == b"t":
            return bool(self.number("B"))
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind in _SKIPPED:
            _SKIPPED[kind](self)
            return None
        raise NotAmqpError("a value of an unknown kind")

    def _take(self, size: int) -> bytes:
        end = self._position + size
        if end > len(self._payload):
            raise NotAmqpError("a frame that ends too early")
        taken = self._payload[self._position : end]
        self._position = end
        return taken


_NUMBERS = {b"b": "b", b"B": "B", b"s": "h", b"u": "H", b"I": "i", b"i": "I", b"l": "q", b"L": "Q",
            b"T": "Q"}  # fmt: skip
_SKIPPED: dict[bytes, Callable[[Reader], object]] = {
    b"f": lambda reader: reader._take(4),  # noqa: SLF001 - its own module
    b"d": lambda reader: reader._take(8),  # noqa: SLF001 - the same
    b"D": lambda reader: reader._take(5),  # noqa: SLF001 - the same
    b"x": Reader.long,
    b"A": Reader.long,
    b"V": lambda reader: reader._take(0),  # noqa: SLF001 - the same
}
