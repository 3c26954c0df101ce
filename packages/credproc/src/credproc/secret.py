"""A string that does not show itself.

As `mqauth.Secret`, whose package takes longer to import than a whole run of this command lasts.
"""

from __future__ import annotations

REDACTED = "********"


class Secret:
    """Wraps a secret string so that only `reveal` gives it away."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        """Wrap `value`."""
        self.__value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self.__value

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __repr__(self) -> str:
        return f"Secret({REDACTED!r})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled")
