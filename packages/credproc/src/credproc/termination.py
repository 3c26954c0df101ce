"""Ends a command that runs until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def leaving_on_signals() -> Iterator[None]:
    """Leave the process with exit code 0 on SIGTERM or Ctrl-C, whatever it is doing.

    The signal raises SystemExit, so everything that cleans up behind itself does so: locks are
    released, temporary files removed, child processes ended.
    """
    before = {number: signal.signal(number, _leave) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    # A second signal must not interrupt the cleaning up after the first.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(0)
