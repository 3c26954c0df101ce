"""The background thread that keeps one source fresh."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

logger = logging.getLogger(__name__)

LONGEST_SLEEP = 5.0
"""Seconds. `Event.wait` counts monotonic time, which stands still while a laptop is suspended;
short sleeps keep the wall clock, which decides about expiry, in view."""
AFTER_DEFECT = 1.0


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
            self._wakeup.wait(min(delay, LONGEST_SLEEP))
            self._wakeup.clear()

    def _tick(self) -> float | None:
        target = self._ticking()
        if target is None:
            return None
        try:
            return target.tick()
        except Exception:
            # Renewal must survive whatever happens once, or every connection dies at expiry.
            logger.exception("the renewal thread met a defect")
            return AFTER_DEFECT
