"""Notices when the host's clock is set."""

from __future__ import annotations

import time

# Counts on while a laptop sleeps, unlike the monotonic clock; only Linux has it.
_STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock_offset() -> float:
    """Return wall clock minus a clock that nobody sets, in seconds; it changes when it is set."""
    return time.time() - time.clock_gettime(_STEADY_CLOCK)
