"""The clipboard of the desktop, by the program that each kind of desktop has for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from mqauth.errors import ConfigurationError

LIMIT = 5.0
"""Seconds that a program may take: they go into the background, but not without a desktop."""

# Each with the variable that tells whether its desktop is there; the first that fits is best.
_PROGRAMS: tuple[tuple[str | None, tuple[str, ...]], ...] = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("DISPLAY", ("xsel", "--clipboard", "--input")),
    (None, ("pbcopy",)),
)
_WITHOUT = "or leave --copy out"


class Clipboard:
    """What texts can be copied to.

    Raises:
        ConfigurationError: There is none.
    """

    def __init__(self) -> None:
        """Find the programs; none is run yet."""
        installed = [(desktop, words) for desktop, words in _PROGRAMS if shutil.which(words[0])]
        if not installed:
            names = ", ".join(words[0] for _, words in _PROGRAMS)
            raise ConfigurationError(
                f"there is no clipboard: none of {names} is on PATH",
                remedy=f"install wl-clipboard, xclip or xsel, {_WITHOUT}",
            )
        self._usable = [
            words for desktop, words in installed if desktop is None or os.environ.get(desktop)
        ]
        if not self._usable:
            raise ConfigurationError(
                "there is no clipboard: neither WAYLAND_DISPLAY nor DISPLAY names a desktop",
                remedy=f"run it within one, {_WITHOUT}",
            )

    def copy(self, text: str) -> None:
        """Put `text` there; it goes by standard input, as command lines are for all to see.

        Raises:
            ConfigurationError: No program could.
        """
        problems = []
        for words in self._usable:
            problem = _problem(words, text)
            if problem is None:
                return
            problems.append(f"{words[0]} {problem}")
        raise ConfigurationError(
            f"nothing was copied: {', '.join(problems)}",
            remedy=f"see whether it works by hand on this desktop, {_WITHOUT}",
        )


def _problem(words: Sequence[str], text: str) -> str | None:
    """Return why a program did not copy; None if it did."""
    try:
        # What goes into the background would keep pipes open, so it gets none but its input.
        done = subprocess.run(
            words,
            input=text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {LIMIT:.0f} s"
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    return f"ended with status {done.returncode}" if done.returncode else None
