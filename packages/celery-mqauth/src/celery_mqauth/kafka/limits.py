"""Seconds that users give: a limit that is none lets a client wait for ever."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mqauth.errors import ConfigurationError

CONNECT_LIMIT = 10.0
PUBLISH_LIMIT = 30.0
"""Seconds, where the transport options say nothing else."""
LONGEST = 86400.0

LIMITS = (
    "connect_limit",
    "publish_limit",
    "wait_time_seconds",
    "connection_wait_time_seconds",
    "polling_interval",
)
"""Transport options that are seconds."""


def check_limits(options: Mapping[str, Any]) -> None:
    """Check the transport options that are seconds.

    Raises:
        ConfigurationError: One is no number of seconds, or not more than 0, or without an end.
    """
    for name in LIMITS:
        if options.get(name) is not None:
            check_seconds(f"the transport option {name!r}", options[name])


def check_seconds(what: str, value: Any) -> float:
    """Return a finite number of more than 0 seconds.

    Args:
        what: What it is, for the message.
        value: What the user wrote.

    Raises:
        ConfigurationError: It is none.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    seconds = float(value) if number else math.nan
    if not 0 < seconds <= LONGEST:
        raise ConfigurationError(
            f"{what} is {str(value)[:60]!r}",
            remedy=f"give seconds: more than 0, at most {LONGEST:.0f}",
        )
    return seconds
