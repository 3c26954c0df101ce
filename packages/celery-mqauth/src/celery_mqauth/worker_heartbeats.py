"""A worker's heartbeats to its monitors, for which its event loop must not wait.

Celery publishes them from the event loop, again and again until it succeeds. Where a credential
ran out and the issuer is down, the loop would be at that for as long as the outage lasts: it would
not hear that the broker has closed its consumers' connection, and would not end when it is told
to. What is not sent Celery keeps, and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ROUTING_KEY = "worker.heartbeat"

_exchanges: set[str] = set()


def expect_in(exchange: str) -> None:
    """Take what is published there as Celery's events.

    Args:
        exchange: The app's `event_exchange`.
    """
    _exchanges.add(exchange)


def is_heartbeat(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether these are the arguments of a `basic_publish` of a heartbeat."""
    given = {**dict(zip(("msg", "exchange", "routing_key"), args, strict=False)), **kwargs}
    return given.get("routing_key") == ROUTING_KEY and given.get("exchange") in _exchanges
