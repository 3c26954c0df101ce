"""A channel that never takes a late answer for that to its next question.

py-amqp takes the next answer of a kind for the latest question's, and the next confirmation for the
latest message's. But a wait that a limit, a signal or a callback's error has ended leaves an answer
that is still to come.
"""

# ruff: noqa: FBT001, FBT002, PLR0917, SLF001 - the signatures are py-amqp's.

from __future__ import annotations

import contextlib
from typing import Any

import amqp
from amqp import spec
from amqp.protocol import queue_declare_ok_t
from kombu.transport import pyamqp
from vine import ensure_promise, promise

ANSWER_LIMIT = 2.0
"""Seconds to wait for an answer after what a callback has raised."""


class AskingChannel(pyamqp.Channel):
    """Kombu's channel; a question that was broken off ends its link, a message has a number."""

    _confirm_selected: bool

    def __init__(self, connection: Any, *args: Any, **options: Any) -> None:
        """Begin with no question."""
        self.asked: Any = None
        """The promise of the answer to the question that is out."""
        self.closings = 0
        """How many times the broker has closed the channel."""
        super().__init__(connection, *args, **options)

    def send_method(
        self,
        sig: tuple[int, int],
        format: str | None = None,  # noqa: A002
        args: Any = None,
        content: Any = None,
        wait: Any = None,
        callback: Any = None,
        returns_tuple: bool = False,
    ) -> Any:
        """Write a method, and wait for its answer if `wait` names one.

        Nothing that strikes between the two leaves a question open unnoticed.
        """
        if not wait:
            return super().send_method(sig, format, args, content, None, callback)
        connection, asked, closings = self.connection, self.asked, self.closings
        if connection is not None and not connection.busy and _is_open(asked):
            # What broke off an earlier question was struck itself before it had ended the link.
            # (While something is read, that question may be one whose answer is waited for.)
            connection.lose_step()
        transport = None if connection is None else connection._transport
        begun = 0 if transport is None else transport.writes
        self.asked = answer = promise()
        try:
            super().send_method(sig, format, args, content, None, callback)
            result = self.wait(wait, answer, returns_tuple=returns_tuple)
        except BaseException as error:
            if transport is not None and transport.writes != begun:
                self._end_unless_answered(connection, wait, answer, closings)
            if connection is not None:
                connection.meet(error)
            self.asked = asked
            raise
        self.asked = asked
        return result

    def wait(
        self,
        method: Any,
        callback: Any = None,
        timeout: float | None = None,
        returns_tuple: bool = False,
    ) -> Any:
        """Wait for the broker's answer; whatever else ends the wait ends the link.

        What a callback raises, or the broker has against another channel, comes out after the
        answer, which is then waited for a little longer.
        """
        connection, closings = self.connection, self.closings
        answer = ensure_promise(callback)
        if connection is not None:
            connection.struck = True
        try:
            return super().wait(method, answer, timeout, returns_tuple)
        except BaseException:
            if self._is_owed(connection, method, answer, closings) and not connection.struck:
                with contextlib.suppress(Exception):
                    super().wait(method, answer, ANSWER_LIMIT)
            self._end_unless_answered(connection, method, answer, closings)
            raise

    def _end_unless_answered(
        self, connection: Any, method: Any, answer: Any, closings: int
    ) -> None:
        if self._is_owed(connection, method, answer, closings):
            connection.lose_step()

    def _is_owed(self, connection: Any, method: Any, answer: Any, closings: int) -> bool:
        """Return whether an answer is to come that would be taken for another's."""
        # An error of the channel is an answer too: the broker forgets what it was asked before.
        answered = not _is_open(answer) or self.closings != closings
        # On a channel that is being closed, or has been, nobody asks any more.
        ended = self.is_closing or self.connection is None
        # And this answer names its consumer: whichever question it is taken for, no harm is done.
        harmless = method == spec.Basic.CancelOk
        return connection is not None and not (answered or ended or harmless)

    def queue_declare(
        self,
        queue: str = "",
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = True,
        nowait: bool = False,
        arguments: dict[str, Any] | None = None,
        argsig: str = "BsbbbbbF",
    ) -> Any:
        """Declare a queue; py-amqp's own writes and waits apart."""
        answer = self.send_method(
            spec.Queue.Declare,
            argsig,
            (0, queue, passive, durable, exclusive, auto_delete, nowait, arguments),
            wait=None if nowait else spec.Queue.DeclareOk,
            returns_tuple=True,
        )
        return None if nowait else queue_declare_ok_t(*answer)

    def basic_publish_confirm(
        self, msg: Any, *args: Any, confirm_timeout: float | None = None, **options: Any
    ) -> Any:
        """Publish, and wait until the broker has confirmed this very message."""
        connection = self.connection
        # Older releases of py-amqp take a channel that the broker has closed, and that was opened
        # anew, for one that still confirms.
        if connection is None or self.channel_id not in connection.confirms:
            self.confirm_select()
            self._confirm_selected = True
        result = self._basic_publish(msg, *args, **options)
        msg.receipt.wait(confirm_timeout or options.get("timeout"))
        return result

    def _on_basic_ack(self, delivery_tag: int, multiple: bool) -> None:
        self._settle_published(delivery_tag, multiple, None)
        super()._on_basic_ack(delivery_tag, multiple)

    def _on_basic_nack(self, delivery_tag: int, multiple: bool) -> None:
        self._settle_published(delivery_tag, multiple, amqp.exceptions.MessageNacked())
        super()._on_basic_nack(delivery_tag, multiple)

    def _settle_published(self, number: int, multiple: bool, error: Exception | None) -> None:
        # One that comes after the channel was closed finds no connection.
        known = None if self.connection is None else self.connection.confirms.get(self.channel_id)
        if known is not None:
            known.settle(number, multiple=multiple, error=error)

    def collect(self) -> None:
        """Let go of everything, and tell whoever waits for a confirmation."""
        known = None
        if self.connection is not None:
            known = self.connection.confirms.pop(self.channel_id, None)
        super().collect()
        if known is not None:
            known.end()

    def _on_close(self, *args: Any) -> None:
        self.closings += 1
        super()._on_close(*args)


def _is_open(question: Any) -> bool:
    return question is not None and not (question.ready or question.failed)
