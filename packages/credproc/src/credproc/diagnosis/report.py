"""What a diagnosis finds, and how it is shown."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TextIO

Status = Literal["ok", "warning", "failed"]

_MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("ok", "\x1b[32m"),
    "warning": ("warning", "\x1b[33m"),
    "failed": ("FAILED", "\x1b[1;31m"),
}
_RESET, _CLEAR = "\x1b[0m", "\r\x1b[K"
_WIDTH = 14
_BESIDE = 8 + _WIDTH + 1
_NARROWEST = 40


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one link is like.

    Args:
        link: The link's name; stable.
        status: How it is.
        detail: Facts in one line, or the cause where it is not well.
        remedy: What to do, where it is not well.
        seconds: How long looking took.
    """

    link: str
    status: Status
    detail: str
    remedy: str | None = None
    seconds: float = 0.0


class Display:
    """Shows findings as they come: progress and colour on a terminal, plain lines elsewhere.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        """Look what kind of stream it is."""
        self._stream = stream
        self._terminal = stream.isatty()

    def begin(self, link: str) -> None:
        """Say what is being looked at."""
        if self._terminal:
            self._write(f"...     {link}")

    def show(self, finding: Finding) -> None:
        """Show a finding for good."""
        mark, colour = _MARKS[finding.status]
        text = f"{mark:<7}"
        if self._terminal:
            text = f"{_CLEAR}{colour}{text}{_RESET}"
        indent = " " * _BESIDE
        line = f"{text} {finding.link:<{_WIDTH}} {self._wrapped(finding.detail, indent)}"
        if finding.remedy:
            line += f"\n{indent}-> {self._wrapped(finding.remedy, f'{indent}   ')}"
        self._write(line + "\n")

    def _wrapped(self, text: str, indent: str) -> str:
        """Return a text on lines as wide as the terminal; on one where nobody counts columns."""
        if not self._terminal and not os.environ.get("COLUMNS", "").isdigit():
            return text
        columns = max(shutil.get_terminal_size().columns, _NARROWEST)
        lines = textwrap.wrap(
            text,
            columns,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,  # paths and ARNs are copied
            break_on_hyphens=False,
        )
        return "\n".join(lines).removeprefix(indent)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def to_json(findings: Sequence[Finding], exit_code: int) -> str:
    """Return the whole report as JSON."""
    document = {
        "ok": exit_code == 0,
        "exit_code": exit_code,
        "links": [asdict(finding) for finding in findings],
    }
    return json.dumps(document, indent=2)
