"""Ends a command that runs until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)
PATIENCE = 2.0
"""Seconds for cleaning up, in which further signals change nothing. After that they count again, as
Python drops an exception that happens to be raised in a finalizer."""
PULSE = 1.0
"""Seconds that a wait lasts at most before it begins anew: Python runs a signal's handler before or
after one, and does not see a signal that comes between its last look and the wait until that ends.
"""


def rest() -> NoReturn:
    """Wait until a signal raises."""
    while True:
        time.sleep(PULSE)


@contextlib.contextmanager
def leaving_on_signals(done: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Leave the process on SIGTERM or Ctrl-C, whatever it is doing.

    The signal raises SystemExit, so everything that cleans up behind itself does so: locks are
    released, temporary files removed, child processes ended.

    Args:
        done: Whether what the command is for has been done, so that the exit code is 0; else it is
            what shells have for a signal, 143 or 130.
    """
    leave = _Leave(done)
    before = {number: signal.signal(number, leave) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Leave:
    """Raises SystemExit at a signal, but not again while what that set off is cleaning up."""

    def __init__(self, done: Callable[[], bool]) -> None:
        self._done = done
        self._raised_at = -PATIENCE

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._raised_at >= PATIENCE:
            self._raised_at = now
            raise SystemExit(0 if self._done() else 128 + number)
