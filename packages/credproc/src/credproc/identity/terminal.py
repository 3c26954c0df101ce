"""Asks for a password on the terminal, and waits no longer than there is time.

`getpass` would wait for ever, and with it all who wait for the same session.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from credproc.deadline import Deadline

LONGEST = 4096


def typed(prompt: str, deadline: Deadline) -> str:
    """Return the line that somebody types without seeing it.

    The terminal echoes again afterwards, however this ends; what was typed and not taken is
    dropped, so that no half of a password lands in the shell.

    Args:
        prompt: What is asked.
        deadline: When the wait ends.

    Raises:
        OSError: There is no terminal to ask on.
        TimeoutError: Nobody has typed a line in time.
        EOFError: Nobody is there any more, or wants to.
    """
    descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        before = _silenced(descriptor)
        try:
            os.write(descriptor, prompt.encode())
            return _line(descriptor, deadline)
        finally:
            with contextlib.suppress(termios.error, OSError):  # it may be gone
                termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
                os.write(descriptor, b"\n")
    finally:
        os.close(descriptor)


def _silenced(descriptor: int) -> list[Any]:
    """Have a terminal echo nothing, and return how it was before."""
    try:
        before = termios.tcgetattr(descriptor)
        silent = before[:]
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
    except termios.error as error:
        raise OSError(*error.args) from None
    return before


def _line(descriptor: int, deadline: Deadline) -> str:
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline.remaining()))
        if not ready:
            raise TimeoutError
        piece = os.read(descriptor, LONGEST)
        if not piece:
            raise EOFError
        line += piece
    return line.decode("utf-8", "replace").removesuffix("\n")
