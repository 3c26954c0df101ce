"""JSON by the C parts of the `json` module, whose own import, with `re` below it, takes 10 ms.

Whatever they do not take at once is left to `json` itself, which says what is wrong.
"""

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
    parse_constant = None  # NaN and infinity are left to `json`
    memo: dict[str, str] = {}  # noqa: RUF012 - unused, but asked for


def read_json(content: bytes) -> Any:
    """Return the value of a JSON document, as `json.loads` does.

    Raises:
        ValueError: It is none.
        RecursionError: It is too deep.
    """
    try:
        from _json import make_scanner

        text = content.decode().strip(_WHITE_SPACE)
        value, end = make_scanner(_Settings)(text, 0)  # type: ignore[arg-type] # has what it needs
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001 - without `json`, SystemError stands for its errors
        return _by_json(content)
    return value if end == len(text) else _by_json(content)


def _by_json(content: bytes) -> Any:
    import json

    return json.loads(content)


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
