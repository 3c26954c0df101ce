"""Which message a broker's confirmation is about.

The broker numbers what is published on a channel from `confirm.select` on, and confirms by these
numbers. py-amqp takes whatever confirmation comes next for that of the latest message: after a wait
that was given up, that would be the late one of the message before.
"""

from __future__ import annotations

from typing import Any

import amqp
from amqp import spec


class Receipt:
    """What the broker has said about one message."""

    __slots__ = ("connection", "error", "settled")

    def __init__(self, connection: Any) -> None:
        """Begin with nothing said; `connection` is the one that the message went out on."""
        self.connection = connection
        self.settled = False
        self.error: Exception | None = None

    def settle(self, error: Exception | None) -> None:
        """Note that nothing more will be said."""
        self.error = error
        self.settled = True

    def wait(self, timeout: float | None) -> None:
        """Read until the broker has confirmed the message.

        Args:
            timeout: Seconds to wait for whatever the broker says next; None for no limit.

        Raises:
            amqp.exceptions.MessageNacked: The broker has refused the message.
            amqp.AMQPError: Nobody will ever know.
            TimeoutError: The broker has said nothing for so long.
        """
        while not self.settled:
            if self.connection.channels is None:
                raise amqp.RecoverableConnectionError("connection already closed")
            self.connection.drain_events(timeout=timeout)
        if self.error is not None:
            raise self.error


class Confirms:
    """The messages of a channel of one connection that are not confirmed yet."""

    def __init__(self) -> None:
        """Begin behind `confirm.select`."""
        self._written = 0
        self._waiting: dict[int, Receipt] = {}

    def add(self, message: Any, connection: Any) -> None:
        """Number a message that has just been written, and give it a receipt."""
        self._written += 1
        message.receipt = self._waiting[self._written] = Receipt(connection)

    def settle(self, number: int, *, multiple: bool, error: Exception | None) -> None:
        """Note the broker's word on a message, or on all up to it (0: on all there are)."""
        numbers = [number]
        if multiple:
            numbers = [n for n in list(self._waiting) if not number or n <= number]
        for each in numbers:
            # It may be of another process's, or of a time before this began.
            if (receipt := self._waiting.pop(each, None)) is not None:
                receipt.settle(error)

    def end(self) -> None:
        """Note that the channel is no more."""
        error = amqp.RecoverableChannelError(
            "the channel was closed before a message was confirmed"
        )
        self.settle(0, multiple=True, error=error)


def note(connection: Any, channel: int, method: Any, content: Any) -> None:
    """Note a method that has been written; called under the connection's `frame_lock`."""
    known: Confirms | None = connection.confirms.get(channel)
    if known is None:
        if method == spec.Confirm.Select:
            connection.confirms[channel] = Confirms()
    elif method == spec.Basic.Publish:
        known.add(content, connection)
    elif method == spec.Channel.Open:  # the numbers begin anew
        del connection.confirms[channel]
        known.end()
