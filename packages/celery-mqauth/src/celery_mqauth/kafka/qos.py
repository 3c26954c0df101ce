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

_Place = tuple[str, int]


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
        self._under_way: dict[_Place, set[int]] = {}
        self._next: dict[_Place, int] = {}

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
        self._under_way[place].discard(message.offset)
        self._commit(place)

    def done_before(self, topic: str, partition: int, offset: int) -> None:
        """Count what stands before an offset as done, but for what is under way."""
        place = topic, partition
        self._next[place] = max(self._next.get(place, 0), offset)
        self._commit(place)

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's
        """Drop a message, or put it at the end of its topic."""
        message = self._not_yet_acked.get(delivery_tag)
        if requeue and message is not None:
            self.channel._restore(message)  # noqa: SLF001 - Kombu's way
        self.ack(delivery_tag)

    def _commit(self, place: _Place) -> None:
        done = min(self._under_way.get(place, ()), default=self._next[place])
        consumer = self.channel.existing_consumer(place[0])
        if consumer is None:
            return
        try:
            consumer.commit(offsets=[TopicPartition(*place, done)], asynchronous=True)
        except KafkaException as error:
            # Somebody else has the partition by now, and with it the message.
            logger.warning("an acknowledgement in %s was not taken: %s", place[0], error)
