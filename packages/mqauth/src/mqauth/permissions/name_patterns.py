"""Families of names: what is known of a name before it is made, as a scope and as an expression."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from mqauth.permissions.regexes import exactly
from mqauth.permissions.wildcards import literal


class Blank(Enum):
    """A part of a name that is made when the program runs.

    The values are what stands for it in a scope, in an expression, and for trying: names that have
    nothing in common but what all of them have, the first of them the most telling.
    """

    ANY = ("*", ".*", ("x", "y.z"))
    """Anything."""
    UUID = (
        "*-*-*-*-*",
        "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        ("57a92bb9-48fb-3b86-a497-1f5931f492b2", "0d6c1f38-9a57-4e2b-8c04-e61b7f3a95d0"),
    )
    """A UUID."""
    NODE = ("*@*", "[^@]+@.+", ("celery@host.example.com", "w1@9-k"))
    """The name of a worker."""
    LEVEL = (
        "*",
        "([0-9]+|delivery)",
        ("27", "0", "delivery", *(str(level) for level in range(1, 27))),
    )
    """What delayed delivery calls its queues and exchanges."""
    DELAY = ("*", "[01](\\.[01])*", (".".join("0" * 27 + "1"), ".".join("1" * 28)))
    """How long a message is delayed, bit by bit."""

    @property
    def wildcard(self) -> str:
        """What stands for it in a scope."""
        return str(self.value[0])

    @property
    def expression(self) -> str:
        """What stands for it in a regular expression."""
        return str(self.value[1])

    @property
    def samples(self) -> tuple[str, ...]:
        """Names to try."""
        return tuple(self.value[2])


_FEW = 3


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A name, or a family of names.

    Attributes:
        parts: What it consists of, one after the other.
    """

    parts: tuple[str | Blank, ...]

    @property
    def exact(self) -> bool:
        """Whether it is one name."""
        return not any(isinstance(part, Blank) for part in self.parts)

    @property
    def wildcard(self) -> str:
        """The pattern of a scope that matches it."""
        return "".join(literal(p) if isinstance(p, str) else p.wildcard for p in self.parts)

    @property
    def expression(self) -> str:
        """The regular expression that matches it, without anchors."""
        return "".join(exactly(p)[1:-1] if isinstance(p, str) else p.expression for p in self.parts)

    @property
    def samples(self) -> tuple[str, ...]:
        """Names of the family to try; the name itself where there is but one."""
        names = [""]
        for part in self.parts:
            options = (part,) if isinstance(part, str) else part.samples
            names = [name + option for name in names for option in options]
        return tuple(names)

    @property
    def few_samples(self) -> tuple[str, ...]:
        """Samples in which each blank changes, not each with each: where trying takes its time."""
        tried = [(part,) if isinstance(part, str) else part.samples[:_FEW] for part in self.parts]
        return tuple(
            "".join(options[number % len(options)] for options in tried)
            for number in range(max(map(len, tried), default=1))
        )

    def mapped(self, change: Callable[[str], str]) -> NamePattern:
        """Return the family whose names differ from these as a function says."""
        return named(*(change(part) if isinstance(part, str) else part for part in self.parts))

    def matches(self, name: str) -> bool:
        """Tell whether the regular expression matches a name."""
        return re.fullmatch(self.expression, name) is not None

    def __str__(self) -> str:
        """Write it for people."""
        return "".join(p if isinstance(p, str) else p.wildcard for p in self.parts)


def named(*parts: str | Blank) -> NamePattern:
    """Return the pattern of a name that consists of these parts."""
    return NamePattern(tuple(part for part in parts if part != ""))
