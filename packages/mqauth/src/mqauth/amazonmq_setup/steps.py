"""One step of the set-up: what is, what ought to be, and what makes it so."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field

Say = Callable[[str], None]
"""Takes a line about progress."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One part of the set-up as it is found.

    Args:
        title: What it is about.
        present: What is there, as text; empty if nothing is.
        wanted: What ought to be there.
        act: Makes it so; reports progress to its argument.
        consequence: What else happens then, such as a reboot.
    """

    title: str
    present: str
    wanted: str
    act: Callable[[Say], None] = field(repr=False)
    consequence: str | None = None

    @property
    def due(self) -> bool:
        """Whether there is something to do."""
        return self.present != self.wanted

    def diff(self) -> list[str]:
        """Return the difference, line by line: `-` is, `+` ought to be, a blank stays."""
        lines = difflib.unified_diff(
            self.present.splitlines(), self.wanted.splitlines(), lineterm="", n=2
        )
        return [line for line in lines if not line.startswith(("---", "+++", "@@"))]
