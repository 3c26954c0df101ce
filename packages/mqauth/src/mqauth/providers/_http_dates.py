"""What an answer's headers say about time: the issuer's clock, and when to come back."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from datetime import UTC

NOTICEABLE_SKEW = 2.0
"""Seconds below which a difference of clocks is noise: `Date` counts whole seconds."""


def clock_skew(headers: Mapping[str, str], sent_at: float, answered_at: float) -> float:
    """Return the seconds that the `Date` header is ahead of this host's clock.

    Args:
        headers: Headers of an HTTP response.
        sent_at: When the request went out on this host's clock, as `time.time()` counts.
        answered_at: When the answer was there.
    """
    moment = _http_date(headers.get("date", ""))
    if moment is None:
        return 0.0
    # The header cuts off the fraction of its second: half a second is what it lacks on average.
    skew = moment + 0.5 - (sent_at + answered_at) / 2
    # Nobody knows when in between it was written: a slow answer is no sign of another clock.
    unsure = 0.5 + (answered_at - sent_at) / 2
    return skew if abs(skew) >= max(NOTICEABLE_SKEW, unsure) else 0.0


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds that `Retry-After` asks to wait (RFC 9110, 10.2.3), if it makes sense."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    moment = _http_date(value)
    if moment is None:
        return None
    # A date of the issuer's is on the issuer's clock, and its `Date` says what that shows.
    present = _http_date(headers.get("date", ""))
    if present is None:
        present = time.time() if now is None else now
    return max(0.0, moment - present)


def _http_date(value: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
