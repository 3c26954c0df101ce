"""How much work a run sends: the load of the published comparison, fitted to each pool."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

GREEN_POOLS = frozenset({"gevent", "eventlet"})


def slots(pool: str) -> int:
    """Return the concurrency that a pool gets unless told otherwise.

    Green pools acknowledge late tasks only when the next message comes or two seconds have passed:
    with a prefetch as small as prefork's they would stand still most of the time.
    """
    if pool == "solo":
        return 1
    return 50 if pool in GREEN_POOLS else 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Short tasks at an even rate and long ones that outlive their token.

    Args:
        seconds: How long tasks are sent.
        short_rate: Short tasks per second.
        long_seconds: How long a long task runs.
        long_every: Seconds between two long tasks.
    """

    seconds: float
    short_rate: float
    long_seconds: float
    long_every: float

    @classmethod
    def fitted(cls, *, pool: str, ttl: float, seconds: float) -> Self:
        """Return the load for a pool.

        With tokens of 25 s this is 20 short tasks a second and a task of 45 s every 10 s, which
        keeps four to five of eight slots busy; other lifetimes scale the long tasks with them.
        Two kinds of pools take less:

        - solo has one slot, where a long task stops everything else: a task of 1.2 lives every 2.4
          lives, and 8 short tasks a second, leave it time to catch up;
        - gevent and eventlet take at most ten messages a second with Celery's default heartbeats,
          whose loop waits 0.1 s for the event dispatcher's connection after each: 8 a second.

        Args:
            pool: Celery's name of the pool.
            ttl: Life of a token in seconds.
            seconds: How long tasks are sent.
        """
        if pool == "solo":
            return cls(seconds=seconds, short_rate=8, long_seconds=1.2 * ttl, long_every=2.4 * ttl)
        short_rate = 8 if pool in GREEN_POOLS else 20
        return cls(
            seconds=seconds, short_rate=short_rate, long_seconds=1.8 * ttl, long_every=0.4 * ttl
        )

    def schedule(self) -> Iterator[tuple[float, str, int]]:
        """Yield (seconds from the start, kind, number) in order of time."""
        return heapq.merge(
            _every(1 / self.short_rate, self.seconds, "short"),
            _every(self.long_every, self.seconds, "long"),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


def _every(interval: float, seconds: float, kind: str) -> Iterator[tuple[float, str, int]]:
    number = 0
    while number * interval < seconds:
        yield number * interval, kind, number
        number += 1
