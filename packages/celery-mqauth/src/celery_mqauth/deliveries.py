"""Which connection a delivery came over: a channel may outlive the connection under it.

When a channel moves to a new connection, its delivery tags begin anew at 1, while messages that
came over the old connection still wait to be acknowledged there. So each connection of a channel is
a generation, and all tags but the first's carry theirs above bit 48: brokers do not count so far.
"""

from __future__ import annotations

_SHIFT = 48
_MASK = (1 << _SHIFT) - 1


def tag_of(generation: int, number: int) -> int:
    """Return the tag to show for the broker's `number` of a generation."""
    return generation << _SHIFT | number


def origin_of(tag: int) -> tuple[int, int]:
    """Return the generation and the broker's number behind a tag."""
    return tag >> _SHIFT, tag & _MASK
