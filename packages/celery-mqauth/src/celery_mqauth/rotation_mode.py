"""How a connection comes to a newer credential, and which brokers refused to take one in place."""

from __future__ import annotations

import enum
import logging

logger = logging.getLogger(__name__)

_refused_in_place: set[tuple[str, str]] = set()
"""Identities and brokers between which an open connection has not taken a new secret."""


class RotationMode(enum.StrEnum):
    """The values of the setting `rotation`."""

    AUTO = "auto"
    """In place; by replacement where the user changes or the broker has refused."""
    UPDATE_SECRET = "update-secret"  # noqa: S105 - a method of AMQP
    """In place or not at all."""
    REPLACE = "replace"
    """By another connection, opened before this one is closed."""
    RECONNECT = "reconnect"
    """Not at all: the connection ends with its credential, and its owner connects anew."""


class Rotation:
    """What may be done to the connections of one identity to one broker.

    Args:
        mode: What the user chose.
        identity: Who signs in.
        broker: Host and port, for the memory and for the log.
    """

    def __init__(self, mode: RotationMode, *, identity: str, broker: str) -> None:
        """Know what the broker has refused so far."""
        self.mode = mode
        self._pair = (identity, broker)

    @property
    def in_place(self) -> bool:
        """Whether a new secret of the same user may be sent over the open connection."""
        if self.mode is RotationMode.AUTO:
            return self._pair not in _refused_in_place
        return self.mode is RotationMode.UPDATE_SECRET

    @property
    def by_replacement(self) -> bool:
        """Whether another connection may take this one's place."""
        return self.mode in (RotationMode.AUTO, RotationMode.REPLACE)

    def refused(self) -> None:
        """Remember that the broker has closed a connection because of a new secret."""
        if self.mode is RotationMode.AUTO and self._pair not in _refused_in_place:
            _refused_in_place.add(self._pair)
            logger.warning(
                "%s does not take a new secret of %s on an open connection: connections to it "
                "are replaced from now on",
                self._pair[1],
                self._pair[0],
            )


def forget_refusals() -> None:
    """Let every broker be tried again."""
    _refused_in_place.clear()
