"""Acknowledgements by offset: what has not been acknowledged is delivered again after a restart.

Kombu's own commits the position of the consumer with each acknowledgement, and with it all that was
fetched ahead.
"""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from kombu.transport import confluentkafka

logger = logging.getLogger(__name__)


class Message(confluentkafka.Message):
    """A message that knows where in its topic it stands."""

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        """Keep topic, partition and offset."""
        self.partition: int = payload.get("partition", -1)
        self.offset: int = payload.get("offset", -1)
        super().__init__(payload, channel=channel, **options)


class QoS(confluentkafka.QoS):
    """Commits up to the first message that is still under way."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Begin with nothing under way."""
        super().__init__(*args, **options)
        self._under_way: dict[tuple[str, int], set[int]] = {}
        self._next: dict[tuple[str, int], int] = {}

    def append(self, message: Any, delivery_tag: Any) -> None:
        """Remember a message that has been delivered."""
        super().append(message, delivery_tag)
        place = message.topic, message.partition
        self._under_way.setdefault(place, set()).add(message.offset)
        self._next[place] = max(self._next.get(place, 0), message.offset + 1)

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge one message."""
        message = self._not_yet_acked.pop(delivery_tag, None)
        if message is None:
            return
        place = message.topic, message.partition
        under_way = self._under_way[place]
        under_way.discard(message.offset)
        done = min(under_way, default=self._next[place])
        consumer = self.channel.existing_consumer(message.topic)
        if consumer is None:
            return
        try:
            consumer.commit(offsets=[TopicPartition(*place, done)], asynchronous=True)
        except KafkaException as error:
            # Somebody else has the partition by now, and with it the message.
            logger.warning("an acknowledgement in %s was not taken: %s", message.topic, error)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's
        """Drop a message, or put it at the end of its topic."""
        message = self._not_yet_acked.get(delivery_tag)
        if requeue and message is not None:
            self.channel._restore(message)  # noqa: SLF001 - Kombu's way
        self.ack(delivery_tag)
