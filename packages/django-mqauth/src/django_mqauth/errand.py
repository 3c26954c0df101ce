"""Waiting for what nobody may end, and no longer than one has time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Errand(Generic[T]):
    """Something done on a thread of its own, which whoever waits for it may give up.

    A source waits for its issuer as long as its own time limit lets it, and nobody may end that:
    others wait for the same credential.

    Args:
        work: What is to be done.
        too_late: What the thread does at last if it was given up.
    """

    def __init__(
        self, work: Callable[[], T], *, too_late: Callable[[], None] = lambda: None
    ) -> None:
        """Begin with nothing done."""
        self.late = self.given_up = False
        self._work, self._too_late = work, too_late
        self._error: BaseException | None = None
        self._results: list[T] = []
        self._lock, self._ended = threading.Lock(), threading.Event()

    def wait(self, limit: float | None) -> T:
        """Do it, and return what came of it; once only.

        Args:
            limit: Seconds after which it is given up; None to wait for as long as it takes.

        Raises:
            TimeoutError: It was given up. Whatever else it raises, is raised.
        """
        threading.Thread(target=self._run, name="mqauth-login", daemon=True).start()
        try:
            self.late = not self._ended.wait(limit)
        finally:
            with self._lock:
                self.given_up = not self._ended.is_set()
                self.late = self.late and self.given_up
        if self.late:
            raise TimeoutError(f"no answer within {limit:g} s")
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # else its own frames would hold it
        return self._results.pop()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            self._error = error
        with self._lock:
            self._ended.set()
            given_up = self.given_up
        if given_up:
            with contextlib.suppress(Exception):
                self._too_late()
