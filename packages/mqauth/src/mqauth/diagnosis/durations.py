"""Seconds as people say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    whole = round(abs(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
