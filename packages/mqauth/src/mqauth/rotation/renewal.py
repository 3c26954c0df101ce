"""The background thread that keeps one source fresh."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import Protocol

logger = logging.getLogger(__name__)

LONGEST_SLEEP = 5.0
"""Seconds. `Event.wait` counts monotonic time, which stands still while a laptop is suspended;
short sleeps keep the wall clock, which decides about expiry, in view."""
AFTER_DEFECT = 1.0
LONGEST_AFTER_DEFECT = 10.0
"""Seconds of pause after the first defect, and after many in a row."""


class Ticking(Protocol):
    """What the thread drives."""

    def tick(self) -> float | None:
        """Do what is due; return seconds to the next time, or None to end the thread."""
        ...


class RenewalThread(threading.Thread):
    """Calls `tick` whenever it asks to be called.

    Holds its target weakly, so that a source nobody refers to ends its thread. Under gevent and
    eventlet, whose monkey patching replaces `threading`, this is a green thread.
    """

    def __init__(self, target: Ticking, name: str) -> None:
        """Prepare the thread; `start` starts it."""
        super().__init__(name=name, daemon=True)
        self._wakeup = wakeup = threading.Event()
        self._stopped = False
        self._defects = 0
        self._ticking = weakref.ref(target, lambda _: wakeup.set())

    def wake(self) -> None:
        """Call `tick` now."""
        self._wakeup.set()

    def stop(self) -> None:
        """End the thread after the present `tick`."""
        self._stopped = True
        self._wakeup.set()

    def run(self) -> None:
        """Tick until told to stop, told that nothing is left to do, or the target is gone."""
        while not self._stopped:
            delay = self._tick()
            if delay is None:
                return
            self._rest(delay)

    def _rest(self, delay: float) -> None:
        """Wait; news ends the wait, but not the one that a defect asks for."""
        end = time.monotonic() + delay
        while True:
            self._wakeup.wait(min(delay, LONGEST_SLEEP))
            self._wakeup.clear()
            delay = end - time.monotonic()
            if not self._defects or self._stopped or self._ticking() is None or delay <= 0:
                return

    def _tick(self) -> float | None:
        target = self._ticking()
        if target is None:
            return None
        try:
            delay = target.tick()
        except Exception:
            # Renewal must survive whatever happens once, or every connection dies at expiry.
            logger.exception("the renewal thread met a defect")
            self._defects += 1
            return min(AFTER_DEFECT * 2.0 ** min(self._defects - 1, 16), LONGEST_AFTER_DEFECT)
        self._defects = 0
        return delay
