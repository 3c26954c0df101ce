"""How a connection comes to a newer credential, and which brokers do not take one in place.

A broker says that the secret is no good and that it cannot take any in place in the same words, and
closes the connection either way. What is remembered, and for how long, is decided here:

- A broker that does not know the method says so.
- A secret that was refused in place and lets a new connection in at that very moment was not the
  trouble: the user of such tokens changes, say.
- If the refusal was read too late to tell, two of them in a row count as much, for between them a
  new connection was let in.

What is remembered may be wrong, or not true any more. Replaced connections that have done are sent
the new secret before they are closed, which costs nobody anything; where none is replaced, an open
one is renewed in place again once twice that time has passed.
"""

from __future__ import annotations

import enum
import logging
import time
from dataclasses import dataclass

from mqauth.durations import duration
from mqauth.secret import Secret

logger = logging.getLogger(__name__)

FIRST_RETRY = 60.0
"""Seconds after which it is looked whether a broker takes new secrets in place by now."""
LONGEST_RETRY = 3600.0
"""Each time that it does not the wait doubles, up to this."""


class RotationMode(enum.StrEnum):
    """The values of the setting `rotation`."""

    AUTO = "auto"
    """In place; by replacement where the user changes or the broker does not take it."""
    UPDATE_SECRET = "update-secret"  # noqa: S105 - a method of AMQP
    """In place or not at all."""
    REPLACE = "replace"
    """By another connection, opened before this one is closed."""
    RECONNECT = "reconnect"
    """Not at all: the connection ends with its credential, and its owner connects anew."""


@dataclass(frozen=True, slots=True)
class _NotInPlace:
    """A broker that does not take a new secret of an identity on an open connection."""

    wait: float
    since: float

    def past(self, waits: int) -> bool:
        return time.monotonic() >= self.since + self.wait * waits


_not_in_place: dict[tuple[str, str], _NotInPlace] = {}
"""By identity and broker."""
_unclear: dict[tuple[str, str], Secret] = {}
"""The last secret that was refused in place, and nobody knows why."""
_no_good: dict[tuple[str, str], Secret] = {}
"""The last secret that was refused in place and for a login as well."""


class Rotation:
    """What may be done to the connections of one identity to one broker.

    Args:
        mode: What the user chose.
        identity: Who signs in.
        broker: Host and port, for the memory and for the log.
    """

    def __init__(self, mode: RotationMode, *, identity: str, broker: str) -> None:
        """Know what has been found out so far."""
        self.mode = mode
        self._pair = (identity, broker)

    @property
    def in_place(self) -> bool:
        """Whether a new secret of the same user may be sent over the open connection."""
        if self.mode is RotationMode.AUTO:
            known = _not_in_place.get(self._pair)
            return known is None or known.past(waits=2)
        return self.mode is RotationMode.UPDATE_SECRET

    @property
    def by_replacement(self) -> bool:
        """Whether another connection may take this one's place."""
        return self.mode in (RotationMode.AUTO, RotationMode.REPLACE)

    @property
    def trial_due(self) -> bool:
        """Whether to try in place again what was not possible, on a connection of no more use."""
        known = _not_in_place.get(self._pair) if self.mode is RotationMode.AUTO else None
        return known is not None and known.past(waits=1)

    def worth_a_login(self, secret: Secret) -> bool:
        """Return whether to find out by a login why `secret` was refused in place."""
        return self.mode is RotationMode.AUTO and _no_good.get(self._pair) != secret

    def secret_is_no_good(self, secret: Secret) -> None:
        """Take note that `secret` was refused for a login, too: the method is all right."""
        _no_good[self._pair] = secret

    def refused_for_whatever_reason(self, secret: Secret) -> None:
        """Take note of a refusal that nobody knows the reason of."""
        if self.mode is not RotationMode.AUTO or _no_good.get(self._pair) == secret:
            return
        if _unclear.setdefault(self._pair, secret) != secret:
            self.not_in_place()

    def not_in_place(self) -> None:
        """Remember for a while that the broker does not take a new secret on open connections."""
        known = _not_in_place.get(self._pair)
        # Its other connections tell the same within moments.
        if self.mode is not RotationMode.AUTO or (known is not None and not known.past(waits=1)):
            return
        _unclear.pop(self._pair, None)
        wait = FIRST_RETRY if known is None else min(known.wait * 2, LONGEST_RETRY)
        _not_in_place[self._pair] = _NotInPlace(wait, time.monotonic())
        logger.log(
            logging.WARNING if known is None else logging.INFO,
            "%s does not take a new secret of %s on an open connection: connections to it are "
            "replaced from now on, and it is tried again in %s",
            self._pair[1],
            self._pair[0],
            duration(wait),
        )

    def taken_in_place(self, sent_at: float) -> None:
        """Remember that the broker took what was sent at a time of `time.monotonic()`."""
        _unclear.pop(self._pair, None)
        known = _not_in_place.get(self._pair)
        # An answer that has lain unread since before says nothing about now.
        if known is not None and sent_at > known.since:
            _not_in_place.pop(self._pair, None)
            logger.info(
                "%s takes a new secret of %s on an open connection again: connections to it are "
                "renewed in place",
                self._pair[1],
                self._pair[0],
            )


NOT_AT_ALL = Rotation(RotationMode.RECONNECT, identity="", broker="")
"""Of connections that nobody will use for long."""


def forget_refusals() -> None:
    """Let every broker be tried again."""
    for memory in (_not_in_place, _unclear, _no_good):
        memory.clear()
