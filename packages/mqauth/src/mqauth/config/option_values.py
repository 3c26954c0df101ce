"""Values of options: from what a user can write to the type the provider expects.

The type of an option is that of its default; no default means text. Environment variables hold
only text, so every type has a spelling in text.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mqauth.wording import kind_of

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
# All but the tab; the last two break lines as well.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


class CommandLine(tuple[str, ...]):
    """Type of an option that is a program with its arguments; nothing of it is for a shell."""

    __slots__ = ()


def convert(value: object, kind: type) -> Any:
    """Return `value` as `kind` (str, bool, int, float, tuple of str, dict of str, CommandLine).

    Raises:
        ValueError: It is none; the message says what it must be and never quotes the value, which
            may be a secret in the wrong place.
    """
    return _CONVERTERS.get(kind, _text)(value)


def parse_bool(value: object) -> bool:
    """Return a truth value from a bool or one of its usual spellings."""
    if isinstance(value, bool):
        return value
    spelling = value.strip().lower() if isinstance(value, str) else None
    if spelling in _TRUE:
        return True
    if spelling in _FALSE:
        return False
    raise ValueError("must be true or false")


def check_one_line(value: object) -> None:
    """Check the texts of a converted value, which end up in logs and on terminals.

    Raises:
        ValueError: One has a line break or another control character.
    """
    if isinstance(value, CommandLine):
        return  # a script is an argument like others, and is not shown
    texts: tuple[object, ...] = (value,)
    if isinstance(value, Mapping):
        texts = (*value, *value.values())
    elif isinstance(value, tuple):
        texts = value
    if any(isinstance(text, str) and _CONTROL.search(text) for text in texts):
        raise ValueError("must not hold line breaks or other control characters")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str):
            return path
    raise ValueError(f"must be text, not {kind_of(value)}")


def _whole_number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    raise ValueError("must be a whole number")


def _number(value: object) -> float:
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not math.isfinite(number):
        raise ValueError("must be a number")
    return number


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part for item in value.split(",") if (part := item.strip()))
    if isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError("must be a list of texts, or one text with commas between them")


def _words(value: object) -> CommandLine:
    if isinstance(value, str):
        try:
            return CommandLine(shlex.split(value))
        except ValueError:
            raise ValueError("has a quotation mark that nothing closes") from None
    if isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        return CommandLine(value)
    raise ValueError("must be a list of texts, or one text with blanks between the words")


def _pairs(value: object) -> dict[str, str]:
    if isinstance(value, Mapping):
        if all(isinstance(part, str) for item in value.items() for part in item):
            return dict(value)
    elif isinstance(value, str):
        items = [item.partition("=") for item in _texts(value)]
        if all(separator and key.strip() for key, separator, _ in items):
            return {key.strip(): text.strip() for key, _, text in items}
    raise ValueError("must be a table of texts, or text such as key=value,key=value")


_CONVERTERS: Mapping[type, Callable[[object], Any]] = {
    bool: parse_bool,
    int: _whole_number,
    float: _number,
    tuple: _texts,
    list: _texts,
    dict: _pairs,
    CommandLine: _words,
}
