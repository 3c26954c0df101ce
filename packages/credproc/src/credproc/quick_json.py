"""JSON by the C parts of the `json` module, whose own import, with `re` below it, takes 10 ms."""

from __future__ import annotations

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_WHITE_SPACE = " \t\n\r"


class _Settings:
    """What the scanner asks a `json.JSONDecoder` for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012 - unused, but asked for

    @staticmethod
    def parse_constant(name: str) -> float:
        """Refuse NaN and infinity, which RFC 8259 does not know."""
        raise ValueError(f"{name} is not JSON")


def read_json(content: bytes) -> Any:
    """Return the value of a JSON document in UTF-8.

    Raises:
        ValueError: It is none.
        RecursionError: It is too deep.
    """
    try:
        from _json import make_scanner
    except ImportError:
        import json

        return json.loads(content)
    text = content.decode().strip(_WHITE_SPACE)
    try:
        value, end = make_scanner(_Settings)(text, 0)  # type: ignore[arg-type] # anything with these attributes
    except StopIteration:
        raise ValueError("a value is missing") from None
    if end != len(text):
        raise ValueError("something follows the value")
    return value


def write_json(document: Mapping[str, str | int]) -> str:
    """Return an object in compact form, as `json.dumps` writes it."""
    try:
        from _json import encode_basestring_ascii as quoted
    except ImportError:
        from json.encoder import py_encode_basestring_ascii as quoted
    pairs = (
        f"{quoted(name)}:{quoted(value) if isinstance(value, str) else value}"
        for name, value in document.items()
    )
    return "{" + ",".join(pairs) + "}"
