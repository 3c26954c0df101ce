"""A string that does not show itself."""

from __future__ import annotations

import hmac
import re
from typing import NoReturn

REDACTED = "********"
_SURROGATE = re.compile("[\ud800-\udfff]")


def encodable(text: str) -> bool:
    """Return whether `text` can be written in UTF-8, found out without an error that quotes it.

    A byte that is no UTF-8 in an environment variable becomes half of a surrogate pair (PEP 383),
    and JSON can spell one.
    """
    return _SURROGATE.search(text) is None


def as_bytes(text: str) -> bytes:
    """Return `text` as bytes, different ones for different texts, be they encodable or not."""
    return text.encode("utf-8", "surrogatepass")


class Secret:
    """Wraps a secret string so that only `reveal` gives it away.

    Neither `repr`, `str`, string formatting nor pickling shows the value, so it stays out of logs,
    tracebacks with locals, reports and message bodies. Two secrets compare in constant time.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        """Wrap `value`."""
        self.__value = value

    def reveal(self) -> str:
        """Return the value itself; the one place to search for when auditing where secrets go."""
        return self.__value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(as_bytes(self.__value), as_bytes(other.__value))

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __repr__(self) -> str:
        return f"Secret({REDACTED!r})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: pass the name of its provider instead")
