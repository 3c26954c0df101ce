"""Forks: live objects are reset in the child, and imports are waited for in the parent."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_DELAY = 5.0
"""Seconds that a fork waits at the most for what `held_off` protects."""

_resets: weakref.WeakKeyDictionary[object, Callable[[object], None]] = weakref.WeakKeyDictionary()


def after_in_child(instance: T, reset: Callable[[T], None]) -> None:
    """Call `reset(instance)` in every forked child, for as long as `instance` lives."""
    _resets[instance] = reset  # type: ignore[assignment]  # the key is the argument


class _Gate:
    """Lets forks through only while nobody is inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0

    def enter(self) -> None:
        with self._changed:
            self._inside += 1

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        # Held until `open`, so that nobody enters between this look and the fork itself.
        self._changed.acquire()
        self._changed.wait_for(lambda: self._inside == 0, LONGEST_DELAY)

    def open(self) -> None:
        self._changed.release()


_gate = _Gate()


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Let forks of this process wait while the block runs, for `LONGEST_DELAY` at the most.

    For whatever may import something for the first time on a thread: the child of a fork in the
    midst of that would wait for ever for the lock of a module that no thread is importing any more.
    """
    gate = _gate
    gate.enter()
    try:
        yield
    finally:
        gate.leave()


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
