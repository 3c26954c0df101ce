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
from contextvars import ContextVar
from typing import TypeVar

# Its own gate for forks is to close after ours: hooks before a fork run last to first, and while it
# is closed the locks of those whom ours waits for cannot be let go.
import filelock  # noqa: F401

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_DELAY = 5.0
"""Seconds after which a block under `held_off` no longer keeps a fork waiting."""

_resets: weakref.WeakKeyDictionary[object, Callable[[object], None]] = weakref.WeakKeyDictionary()


def after_in_child(instance: T, reset: Callable[[T], None]) -> None:
    """Call `reset(instance)` in every forked child, for as long as `instance` lives."""
    _resets[instance] = reset  # type: ignore[assignment]  # the key is the argument


class _Visit:
    """A block under `held_off`, and whatever it has others do."""

    def __init__(self) -> None:
        self.over_at = time.monotonic() + LONGEST_DELAY
        self.parts = 1


class _Gate:
    """Lets forks through only while nobody is inside, and nobody in while a fork waits.

    Nothing is locked during the fork itself: signals strike in its hooks as anywhere, and what they
    raise there is lost. So whatever waits here stops waiting by itself.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._closed: dict[int, float] = {}
        self._visits: set[_Visit] = set()

    def enter(self) -> _Visit:
        with self._changed:
            # One after the other they would keep a fork waiting for ever.
            self._wait(lambda: max(self._closed.values(), default=-math.inf))
            visit = _Visit()
            self._visits.add(visit)
            return visit

    def join(self, visit: _Visit) -> None:
        with self._changed:
            visit.parts += 1

    def leave(self, visit: _Visit) -> None:
        with self._changed:
            visit.parts -= 1
            if not visit.parts:
                self._visits.discard(visit)
                self._changed.notify_all()

    def close(self) -> None:
        own = _visit.get()
        until = time.monotonic() + LONGEST_DELAY
        with self._changed:
            self._closed[threading.get_ident()] = until + LONGEST_DELAY
            # Who forks in a block of its own, as gevent for a subprocess, would wait for itself.
            self._wait(lambda: min(until, self._over_at(own)))

    def _over_at(self, own: _Visit | None) -> float:
        return max((v.over_at for v in self._visits if v is not own), default=-math.inf)

    def open(self) -> None:
        with self._changed:
            self._closed.pop(threading.get_ident(), None)
            self._changed.notify_all()

    def _wait(self, until: Callable[[], float]) -> None:
        while (delay := until() - time.monotonic()) > 0.0:
            self._changed.wait(delay)


_gate = _Gate()
_visit: ContextVar[_Visit | None] = ContextVar("mqauth_forks_visit", default=None)


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Let forks of this process wait while the block runs, for `LONGEST_DELAY` at the most.

    A lock that another thread holds during a fork is held for ever in the child. That concerns
    whatever may import something for the first time, and whatever makes a TLS context: modules have
    locks, and so have the tables that OpenSSL 3 keeps for the whole process. Who waits for the
    network holds none of these, so a block that takes long delays a fork no longer.
    """
    if _visit.get() is not None:
        yield
        return
    gate = _gate
    visit = gate.enter()
    token = _visit.set(visit)
    try:
        yield
    finally:
        _visit.reset(token)
        _leave(gate, visit)


def _leave(gate: _Gate, visit: _Visit) -> None:
    # In a child that was forked in the midst of it a thread that is not there may hold the lock.
    if gate is _gate:
        gate.leave(visit)


def part_of_block() -> Callable[[Callable[[], T]], T]:
    """Return a function that makes a call as a part of the present block, wherever and whenever.

    A thread that is left alone with what it does goes on holding locks. Without a block under
    `held_off` the function just makes the call.
    """
    gate, visit = _gate, _visit.get()
    if visit is not None:
        gate.join(visit)

    def make(call: Callable[[], T]) -> T:
        if visit is None:
            return call()
        token = _visit.set(visit)
        try:
            return call()
        finally:
            _visit.reset(token)
            _leave(gate, visit)

    return make


def _before() -> None:
    _gate.close()


def _after_in_parent() -> None:
    _gate.open()


def _after_in_child() -> None:
    global _gate  # noqa: PLW0603 - it counts threads that are not here, and one may hold its lock
    _gate = _Gate()
    _visit.set(None)
    for instance, reset in tuple(_resets.items()):
        try:
            reset(instance)
        except BaseException:
            # The others' locks must be freed all the same, even if a signal strikes here.
            logger.exception("a %s could not be reset in a forked child", type(instance).__name__)


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
