"""What is told to who runs the command, on standard error; standard output is for answers."""

from __future__ import annotations

import sys
import time

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


_BEGAN = time.monotonic()


def step(line: str) -> None:
    """Tell what has been done, with the time since the start, to who asked by `--debug`.

    Callers look at `options.debug` first, and pass nothing secret: no password, signature or token.
    """
    tell(f"[{(time.monotonic() - _BEGAN) * 1000:5.0f} ms] {line}")


def untold(_line: str) -> None:
    """Stand for `step` where nobody has asked."""


def tell(line: str) -> None:
    """Write one line at once, so that who watches a service's log sees it when it happens.

    It stays one line, whatever a path or a server put into it, and tells the terminal nothing.
    Where standard error is closed or full, nobody is told, and standard output stays clean.
    """
    stream: TextIO | None = sys.stderr
    if stream is None:
        return
    if not line.isprintable():
        line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)
    try:
        stream.write(f"credproc: {line}\n")
        stream.flush()
    except OSError:
        return
