"""What is told to who runs the command, on standard error; standard output is for answers."""

from __future__ import annotations

import sys


def tell(line: str) -> None:
    """Write one line at once, so that who watches a service's log sees it when it happens."""
    sys.stderr.write(f"credproc: {line}\n")
    sys.stderr.flush()
