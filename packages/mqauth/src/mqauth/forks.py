"""Forks: live objects are reset in the child, and what holds locks is waited for in the parent."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_DELAY = 5.0
"""Seconds after which a block under `held_off` no longer keeps a fork waiting."""

_resets: weakref.WeakKeyDictionary[object, Callable[[object], None]] = weakref.WeakKeyDictionary()


def after_in_child(instance: T, reset: Callable[[T], None]) -> None:
    """Call `reset(instance)` in every forked child, for as long as `instance` lives."""
    _resets[instance] = reset  # type: ignore[assignment]  # the key is the argument


class _Gate:
    """Lets forks through only while nobody is inside, and nobody in while a fork waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._closing = False
        self._inside: dict[object, float] = {}

    def enter(self) -> object:
        with self._changed:
            # One after the other they would keep a fork waiting for ever.
            self._changed.wait_for(lambda: not self._closing, LONGEST_DELAY)
            visit = object()
            self._inside[visit] = time.monotonic() + LONGEST_DELAY
            return visit

    def leave(self, visit: object) -> None:
        with self._changed:
            self._inside.pop(visit, None)
            self._changed.notify_all()

    def close(self) -> None:
        # Held until `open`, so that nobody enters between this look and the fork itself.
        self._changed.acquire()
        self._closing = True
        while (delay := self._delay()) > 0.0:
            self._changed.wait(delay)

    def open(self) -> None:
        self._closing = False
        self._changed.notify_all()
        self._changed.release()

    def _delay(self) -> float:
        """Return for how long those who are inside may still keep a fork waiting."""
        return max(self._inside.values(), default=-math.inf) - time.monotonic()


_gate = _Gate()


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Let forks of this process wait while the block runs, for `LONGEST_DELAY` at the most.

    A lock that another thread holds during a fork is held for ever in the child. That concerns
    whatever may import something for the first time, and whatever makes a TLS context: modules have
    locks, and so have the tables that OpenSSL 3 keeps for the whole process. Who waits for the
    network holds none of these, so a block that takes long delays a fork no longer.
    """
    gate = _gate
    visit = gate.enter()
    try:
        yield
    finally:
        gate.leave(visit)


def _before() -> None:
    _gate.close()


def _after_in_parent() -> None:
    _gate.open()


def _after_in_child() -> None:
    global _gate  # noqa: PLW0603 - the old one is locked, and counts threads that are not here
    _gate = _Gate()
    for instance, reset in tuple(_resets.items()):
        try:
            reset(instance)
        except Exception:
            # The others' locks must be freed all the same.
            logger.exception("a %s could not be reset in a forked child", type(instance).__name__)


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
