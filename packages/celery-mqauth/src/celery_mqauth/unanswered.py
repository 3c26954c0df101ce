"""Renewals that a connection has sent and the broker has not answered, so far as anybody has read.

Answers come in the order of the renewals, but on a connection that nobody reads they may come much
later: by then other renewals are out. Only so can be told which one the broker is speaking of.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from mqauth.credentials import BrokerCredentials

KEPT = 8
"""A broker that has closed a connection lets one or two more be sent, and none after those."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A renewal that is out.

    Attributes:
        credentials: What was sent.
        at: When, as `time.monotonic()` counts.
    """

    credentials: BrokerCredentials
    at: float = field(default_factory=time.monotonic)


class Unanswered:
    """The last renewals of one connection, oldest first."""

    def __init__(self) -> None:
        """Begin with none."""
        self._sent: deque[Sent] = deque()
        self._forgotten = 0

    def add(self, credentials: BrokerCredentials) -> None:
        """Note what is about to be sent: not later, as the answer may be quicker than that."""
        if len(self._sent) == KEPT:  # of a connection that nobody reads, they would grow for ever
            self._sent.popleft()
            self._forgotten += 1
        self._sent.append(Sent(credentials))

    def take_back(self) -> None:
        """Forget the newest one, which was not sent after all."""
        self._sent.pop()

    def answered(self) -> Sent | None:
        """Return the renewal that an answer belongs to, and count it as answered."""
        if self._forgotten:
            self._forgotten -= 1
            return None
        return self._sent.popleft() if self._sent else None

    @property
    def next(self) -> Sent | None:
        """The one that the broker's next answer belongs to; None if it is not known (any more)."""
        return self._sent[0] if self._sent and not self._forgotten else None
