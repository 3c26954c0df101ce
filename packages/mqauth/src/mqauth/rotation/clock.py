"""A clock that nobody sets, and how to notice when the host's clock is set."""

from __future__ import annotations

import time

# Counts on while a laptop sleeps, unlike the monotonic clock; only Linux has it.
_STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_time() -> float:
    """Return the seconds of a clock that nobody sets and that counts on in a suspended process."""
    return time.clock_gettime(_STEADY_CLOCK)


def clock_offset() -> float:
    """Return wall clock minus the steady clock, in seconds; it changes when the former is set."""
    return time.time() - steady_time()
