"""A channel that notices an expired credential before it writes or handles a message."""

from __future__ import annotations

import time
from typing import Any

import amqp
from kombu.transport import pyamqp


class Channel(pyamqp.Channel):
    """Kombu's channel with a guard in front of every publish and every delivery."""

    def _basic_publish(self, *args: Any, **kwargs: Any) -> Any:
        connection = self.connection
        if connection is not None and time.time() >= connection.usable_until:
            connection.give_up_expired()
        return super()._basic_publish(*args, **kwargs)

    # Kombu calls `basic_publish`, publisher confirms call `_basic_publish`; in py-amqp the one is
    # an alias of the other, so replacing one alone would leave the other unguarded.
    basic_publish = _basic_publish

    def _on_basic_deliver(self, consumer_tag: str, *args: Any) -> Any:
        connection = self.connection
        no_ack: Any = self.no_ack_consumers
        if connection is not None and connection.lapsed and consumer_tag not in no_ack:
            # The broker has given it to another consumer since: handled here, it would run twice.
            connection.give_up_expired()
        return super()._on_basic_deliver(consumer_tag, *args)

    def _on_close(self, reply_code: int, reply_text: str, class_id: int, method_id: int) -> None:
        connection = self.connection
        try:
            super()._on_close(reply_code, reply_text, class_id, method_id)
        except amqp.AccessRefused:
            # Up to 4.2.5 RabbitMQ answers an expired credential with 403 on the channel, which
            # Celery takes for final; later versions may do so just before closing the connection.
            if connection is not None and time.time() >= connection.usable_until:
                connection.give_up_expired()
            raise
