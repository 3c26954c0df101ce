"""Runs foreign code so that what it raises is told from what strikes the caller meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import wait
from typing import TypeVar

from mqauth import threads

T = TypeVar("T")


class DefectError(Exception):
    """The call raised something that it should not have; that is the cause."""


def call_apart(call: Callable[[], T], expected: type[Exception], *, limit: float) -> T:
    """Return what `call` returns.

    Signal handlers run on the main thread: a task's soft time limit is such an exception, and must
    reach the task unchanged. So there the call itself runs on a thread of its own.

    Args:
        call: Should end by itself within a time limit of its own.
        expected: What it may raise.
        limit: Seconds after which it is given up all the same.

    Raises:
        DefectError: It raised something else, or did not end.
    """
    if threading.current_thread() is threading.main_thread():
        future = threads.begin(call, "mqauth-fetch")
        # Not by the future's own limit: its TimeoutError could not be told from one that strikes.
        if not wait([future], limit).done:
            raise DefectError from TimeoutError(f"no end after {limit:.0f} s")
    else:
        future = threads.make_here(call)
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, expected):
        raise error
    raise DefectError from error
