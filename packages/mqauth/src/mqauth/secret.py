"""A string that does not show itself."""

from __future__ import annotations

import hmac
from typing import NoReturn

REDACTED = "********"


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
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

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
