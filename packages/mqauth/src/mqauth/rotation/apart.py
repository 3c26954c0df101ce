"""Runs foreign code so that what it raises is told from what strikes the caller meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class DefectError(Exception):
    """The call raised something that it should not have; that is the cause."""


class _Outcome(Generic[T]):
    def __init__(self) -> None:
        self.value: list[T] = []
        self.error: BaseException | None = None

    def settle(self, call: Callable[[], T]) -> None:
        try:
            self.value.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self.error = error


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
    outcome: _Outcome[T] = _Outcome()
    if threading.current_thread() is threading.main_thread():
        thread = threading.Thread(
            target=outcome.settle, args=(call,), name="mqauth-fetch", daemon=True
        )
        thread.start()
        thread.join(limit)
        if thread.is_alive():
            raise DefectError from TimeoutError(f"no end after {limit:.0f} s")
    else:
        outcome.settle(call)
    if outcome.error is None:
        return outcome.value[0]
    if isinstance(outcome.error, expected):
        raise outcome.error
    raise DefectError from outcome.error
