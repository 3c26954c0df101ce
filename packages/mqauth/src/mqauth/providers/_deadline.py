"""A limit in time for calls that have none of their own.

Name resolution, a slow TLS handshake, a header that drips in byte by byte or an AWS
`credential_process` that hangs: none of them heeds a socket's timeout. So each call runs on a
thread that can be given up.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from mqauth import forks, threads
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
        self._forget()
        forks.after_in_child(self, BoundedCalls._forget)

    def _forget(self) -> None:
        # A child has none of its parent's threads, so nothing hangs there.
        self._calls: list[Future[Any]] = []

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
        self._calls = [call for call in self._calls if not call.done()]
        if len(self._calls) >= MAX_ABANDONED:
            raise IssuerUnavailableError(
                f"{self._what} hangs: {len(self._calls)} earlier requests are still unanswered",
                remedy="check name resolution and the network",
            )
        future = threads.begin(call, f"mqauth-{self._what}")
        self._calls.append(future)
        return self._outcome(future, deadline, abandoned)

    def _outcome(
        self, future: Future[_T], deadline: Deadline, abandoned: Callable[[], None] | None
    ) -> _T:
        # Not by the future's own limit: its TimeoutError could not be told from one that strikes.
        if not wait([future], deadline.remaining()).done:
            if abandoned is not None:
                abandoned()
            raise IssuerUnavailableError(
                f"{self._what} gave no complete answer within {deadline.seconds:.1f} s",
                remedy="check name resolution, proxies and the issuer's load",
            )
        with contextlib.suppress(ValueError):  # in a child, that has forgotten it
            self._calls.remove(future)
        error = future.exception()
        if error is None:
            return future.result()
        raise _without_frames(error) if isinstance(error, MQAuthError) else error


def _without_frames(error: MQAuthError) -> MQAuthError:
    """Cut off the libraries' frames: they hold the request, and some tools print variables."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
