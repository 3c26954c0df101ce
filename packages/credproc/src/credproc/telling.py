"""What is told to who runs the command, on standard error; standard output is for answers."""

from __future__ import annotations

import sys

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def tell(line: str) -> None:
    """Write one line at once, so that who watches a service's log sees it when it happens.

    Where standard error is closed or full, nobody is told, and standard output stays clean.
    """
    stream: TextIO | None = sys.stderr
    if stream is None:
        return
    try:
        stream.write(f"credproc: {line}\n")
        stream.flush()
    except OSError:
        return
