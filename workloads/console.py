"""What a run says on standard error while it goes on."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

LIVE_SECONDS = 1.0
LINE_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class Console:
    """Notes, and a progress line: rewritten in place on a terminal, else a new one now and then.

    Args:
        quiet: Say nothing.
    """

    quiet: bool = False
    _live: bool = field(default_factory=sys.stderr.isatty, init=False)
    _shown: float = field(default=float("-inf"), init=False)

    def note(self, text: str) -> None:
        """Say something once."""
        self._print(text, end="\n")

    def progress(self, text: str) -> None:
        """Say where things stand, unless it was said a moment ago."""
        if time.monotonic() >= self._shown + (LIVE_SECONDS if self._live else LINE_SECONDS):
            self._print(text, end="\r" if self._live else "\n")
            self._shown = time.monotonic()

    def _print(self, text: str, *, end: str) -> None:
        if not self.quiet:
            print(text, end=end, file=sys.stderr, flush=True)
