"""Transport options that nobody reads, and whose names look like those of one that is read.

Kombu and py-amqp pass over what they do not know. Apps come with keys of other transports, which
is no mistake: hence a word only where a name is very near to a known one.
"""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import amqp

from celery_mqauth.endpoints import AUTH

logger = logging.getLogger(__name__)

_NEAR = 0.85
"""No key of any of Kombu's transports is as near to another one's."""
_NEAR_AUTH = 0.7
"""For a mapping: nearly all others are numbers and texts, and the name is short."""
_KOMBUS = (
    *("max_retries", "interval_start", "interval_step", "interval_max", "connect_retries_timeout"),
    *("errback", "callback", "timeout", "retry_errors", "on_revive", "insist"),
)
"""What Kombu itself reads of any transport's, or puts there when it publishes with retries."""

_told: set[str] = set()


@cache
def amqp_options() -> frozenset[str]:
    """Return the names of the options that are read where the broker is RabbitMQ."""
    parameters = inspect.signature(amqp.Connection.__init__).parameters
    return frozenset({AUTH, *parameters} - {"self", "kwargs"})


def warn_of_misspelt(options: Mapping[Any, Any] | None, known: Iterable[str]) -> None:
    """Warn of each key that is nearly one of those that are read; once in a process.

    Args:
        options: As Celery's `broker_transport_options`.
        known: The names of the options that the transport reads.
    """
    names = {*known, *_KOMBUS}
    for key, value in (options or {}).items():
        if not isinstance(key, str) or key in names or key in _told:
            continue
        meant = _nearest(key, value, names)
        if meant is not None:
            _told.add(key)
            logger.warning(
                "nobody reads the transport option %r - did you mean %s? (correct it in "
                "broker_transport_options, or take it out)",
                key[:60],
                meant,
            )


def _nearest(key: str, value: object, names: Iterable[str]) -> str | None:
    plain = key.lower().replace("-", "_")
    near = difflib.get_close_matches(plain, names, 1, _NEAR)
    if not near and isinstance(value, Mapping):
        near = difflib.get_close_matches(plain, [AUTH], 1, _NEAR_AUTH)
    return near[0] if near else None
