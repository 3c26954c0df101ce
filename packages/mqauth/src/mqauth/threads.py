"""Threads for calls that may hang: they can be given up, and serve again.

A thread that has spoken TLS takes a lock of OpenSSL's as the very last thing, when nothing of
Python's can wait for it any more. A process that forks just then has a child in which that lock is
held for ever, and TLS hangs. So a thread does not end with its call: it waits for the next one.

Under gevent and eventlet, whose monkey patching replaces `threading`, these are green threads, one
for each call.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Task:
    name: str
    make: Callable[[], Callable[[], None]]
    """Makes a call, and returns what tells of its outcome."""


class _Worker:
    """A thread that makes one call after the other, and is idle in between."""

    def __init__(self, pool: ReusedThreads, first: _Task) -> None:
        self._pool = pool
        self._given = threading.Condition()
        self._tasks = [first]
        self._starter = threading.get_native_id()
        self._thread = threading.Thread(target=self._run, name=IDLE_NAME, daemon=True)

    def start(self) -> None:
        """Begin with the first task."""
        self._thread.start()

    def give(self, task: _Task) -> None:
        """Have the thread do another one."""
        with self._given:
            self._tasks.append(task)
            self._given.notify()

    def _run(self) -> None:
        # A green thread runs in the thread that started it and serves no other; OpenSSL knows only
        # the latter. So it may end, and there is nothing for it to wait for.
        serves_again = threading.get_native_id() != self._starter
        while True:
            with self._given:
                self._given.wait_for(lambda: self._tasks)
                task = self._tasks.pop(0)
            self._thread.name = task.name
            # Nothing that a call sets is there for the next one.
            tell = contextvars.Context().run(task.make)
            self._thread.name = IDLE_NAME
            # First: who is told may have the next call at once.
            stays = serves_again and self._pool.take_back(self)
            tell()
            del task, tell
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
        within = forks.part_of_block()
        task = _Task(name, lambda: within(lambda: _outcome(future, call)))
        with self._lock:
            if self._idle:
                self._idle.pop().give(task)
                return future
        try:
            _Worker(self, task).start()
        except BaseException:
            within(lambda: None)
            raise
        return future

    def take_back(self, worker: _Worker) -> bool:
        """Keep a thread for the next call; return False if there are enough."""
        with self._lock:
            if len(self._idle) >= MOST_IDLE:
                return False
            self._idle.append(worker)
            return True


begin = ReusedThreads().begin
"""Makes a call on a thread of this process, as `ReusedThreads.begin` does."""
