"""Threads for calls that may hang: they can be given up, and serve again.

A thread that has spoken TLS takes a lock of OpenSSL's as the very last thing, when nothing of
Python's can wait for it any more. A process that forks just then has a child in which that lock is
held for ever, and TLS hangs. So a thread does not end with its call: it waits for the next one.

Under gevent and eventlet, whose monkey patching replaces `threading`, these are green threads.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from mqauth import forks

T = TypeVar("T")

MOST_IDLE = 8
"""Threads of a process that wait for a call; those beyond end."""

IDLE_NAME = "mqauth-idle"


def make_here(call: Callable[[], T]) -> Future[T]:
    """Make a call on the present thread, and return its outcome."""
    future: Future[T] = Future()
    _outcome(future, call)()
    return future


def _outcome(future: Future[T], call: Callable[[], T]) -> Callable[[], None]:
    """Make the call, and return what tells of its outcome."""
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
        failure = error
        return lambda: future.set_exception(failure)
    return lambda: future.set_result(result)


class _Worker:
    """A thread that makes one call after the other."""

    def __init__(self, pool: ReusedThreads) -> None:
        self._pool = pool
        self._given = threading.Condition()
        self._calls: list[tuple[Callable[[], Callable[[], None]], str]] = []
        self._thread = threading.Thread(target=self._run, name=IDLE_NAME, daemon=True)
        self._thread.start()

    def make(self, call: Callable[[], Callable[[], None]], name: str) -> None:
        """Have the thread make a call and then the one that it returns."""
        with self._given:
            self._calls.append((call, name))
            self._given.notify()

    def _run(self) -> None:
        while True:
            with self._given:
                self._given.wait_for(lambda: self._calls)
                call, self._thread.name = self._calls.pop()
            # Nothing that a call sets is there for the next one.
            tell = contextvars.Context().run(call)
            del call
            self._thread.name = IDLE_NAME
            # First: who is told may have the next call at once.
            stays = self._pool.take_back(self)
            tell()
            del tell
            if not stays:
                return


class ReusedThreads:
    """The threads of this process that wait for a call, and those that make one."""

    def __init__(self) -> None:
        """Have no thread yet."""
        self._forget()
        forks.after_in_child(self, ReusedThreads._forget)

    def _forget(self) -> None:
        # A child has none of its parent's threads.
        self._lock = threading.RLock()  # a signal's handler may fetch, too
        self._idle: list[_Worker] = []

    def begin(self, call: Callable[[], T], name: str) -> Future[T]:
        """Make a call on a thread of its own, a daemon, and return what will be its outcome.

        Args:
            call: What may hang.
            name: What the thread is called meanwhile.

        Raises:
            RuntimeError: The system lets no further thread start.
        """
        future: Future[T] = Future()
        self._worker().make(lambda: _outcome(future, call), name)
        return future

    def _worker(self) -> _Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Worker(self)

    def take_back(self, worker: _Worker) -> bool:
        """Keep a thread for the next call; return False if there are enough."""
        with self._lock:
            if len(self._idle) >= MOST_IDLE:
                return False
            self._idle.append(worker)
            return True


begin = ReusedThreads().begin
"""Makes a call on a thread of this process, as `ReusedThreads.begin` does."""
