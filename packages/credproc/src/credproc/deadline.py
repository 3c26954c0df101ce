"""One limit for everything a run does, shared by all its waits."""

from __future__ import annotations

import time

from credproc.errors import UnavailableError


class Deadline:
    """A point in time, by the monotonic clock.

    Args:
        seconds: How far away it is.
    """

    def __init__(self, seconds: float) -> None:
        """Start counting."""
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left; negative once it has passed."""
        return self._end - time.monotonic()

    def within(self, limit: float) -> float:
        """Return `limit`, or what is left if that is less.

        Raises:
            UnavailableError: Nothing is left.
        """
        left = self.remaining()
        if left <= 0:
            error = UnavailableError(
                f"no answer within the time limit of {self.seconds:g} s",
                remedy="see what keeps the service from answering, or raise --time-limit",
            )
            error.retryable = False
            raise error
        return min(limit, left)
