"""Seconds as people say them."""

from __future__ import annotations

_YEAR = 365
_LONGEST = 1e12


def duration(seconds: float) -> str:
    """Return seconds as people say them, whichever side of now: long spans in days and years."""
    if not abs(seconds) < _LONGEST:  # nor is what others write into a claim always a number
        return "an endless time"
    whole = round(abs(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days >= 2 * _YEAR:
        return f"{days // _YEAR} years"
    if days >= 2:
        return f"{days} days {hours_left} h" if hours_left else f"{days} days"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
