"""How the checks speak: stable ids, one line of what is wrong, a hint that mends it.

An id is never given to anything else once it was released.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's names

from mqauth.errors import ConfigurationError

DOCUMENTATION = "README of django-mqauth, System checks"


def error(number: int, message: str, hint: str, *, where: Any = None) -> CheckMessage:
    """Return `mqauth.E<number>`: it cannot work."""
    identifier = f"mqauth.E{number:03}"
    return Error(message, hint=_hint(hint, identifier), obj=where, id=identifier)


def warning(number: int, message: str, hint: str, *, where: Any = None) -> CheckMessage:
    """Return `mqauth.W<number>`: it works, and somebody will be sorry."""
    identifier = f"mqauth.W{number:03}"
    return Warning(message, hint=_hint(hint, identifier), obj=where, id=identifier)


def from_error(number: int, problem: ConfigurationError, *, where: Any = None) -> CheckMessage:
    """Return the error for what the core says about a configuration."""
    hint = problem.remedy or "see the documentation"
    return error(number, _sentence(problem.message), _sentence(hint), where=where)


def listed(names: Iterable[Any]) -> str:
    """Return names one after the other."""
    return ", ".join(sorted(str(name)[:60] for name in names)) or "there is none"


class Place(str):
    """Where something stands in the settings, such as `MQAUTH['default']['BROKER']`."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Place:
        """Return the place one step further down."""
        return Place(f"{self!s}[{key!r}]")


def _hint(hint: str, identifier: str) -> str:
    return f"{hint} ({DOCUMENTATION}: {identifier.rpartition('.')[2]})"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else text
