"""A limit in time for calls that have none of their own.

Name resolution, a slow TLS handshake, a header that drips in byte by byte or an AWS
`credential_process` that hangs: none of them heeds a socket's timeout. So each call runs on a
thread that can be given up. Under gevent and eventlet that thread is a green one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from mqauth.errors import IssuerUnavailableError, MQAuthError

_T = TypeVar("_T")

MAX_ABANDONED = 4


class Deadline:
    """A moment on the monotonic clock.

    Args:
        seconds: How far away it is.
    """

    def __init__(self, seconds: float) -> None:
        """Start counting now."""
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left, 0 once it has passed."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining() <= 0.0


class BoundedCalls:
    """Runs calls that may hang, and stops waiting for them in time.

    Args:
        what: What is called, for thread names and error messages.
    """

    def __init__(self, what: str) -> None:
        """Nothing runs yet."""
        self._what = what
        self._threads: list[threading.Thread] = []

    def run(
        self,
        deadline: Deadline,
        call: Callable[[], _T],
        *,
        abandoned: Callable[[], None] | None = None,
    ) -> _T:
        """Return what `call` returns, or raise what it raises.

        Args:
            deadline: When to stop waiting.
            call: What may hang.
            abandoned: Called when it does, to let go of what it may hold locked.

        Raises:
            IssuerUnavailableError: The deadline passed first, or too many earlier calls still
                hang. The call goes on in the background and its result is dropped.
        """
        # A thread that its parent process had is dead in a forked child, and drops out here.
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= MAX_ABANDONED:
            raise IssuerUnavailableError(
                f"{self._what} hangs: {len(self._threads)} earlier requests are still unanswered",
                remedy="check name resolution and the network",
            )
        future: Future[_T] = Future()
        thread = threading.Thread(
            target=_settle, args=(future, call), name=f"mqauth-{self._what}", daemon=True
        )
        self._threads.append(thread)
        thread.start()
        return self._outcome(future, deadline, abandoned)

    def _outcome(
        self, future: Future[_T], deadline: Deadline, abandoned: Callable[[], None] | None
    ) -> _T:
        try:
            error = future.exception(timeout=deadline.remaining())
        except TimeoutError:
            if abandoned is not None:
                abandoned()
            error = IssuerUnavailableError(
                f"{self._what} gave no complete answer within {deadline.seconds:.1f} s",
                remedy="check name resolution, proxies and the issuer's load",
            )
        if error is None:
            return future.result()
        raise _without_frames(error) if isinstance(error, MQAuthError) else error


def _without_frames(error: MQAuthError) -> MQAuthError:
    """Cut off the libraries' frames: they hold the request, and some tools print variables."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _settle(future: Future[_T], call: Callable[[], _T]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
        future.set_exception(error)
    else:
        future.set_result(result)
