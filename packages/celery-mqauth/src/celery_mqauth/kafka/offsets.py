"""Where a group of consumers stands in a topic, and how much is in front of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

IN_USE = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.NON_EMPTY_GROUP,
    }
)
"""Codes by which a broker says that a group has consumers, who alone may commit."""
_LOOK = 0.2
_PAUSE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """One partition.

    Args:
        partition: Its number.
        next: The first message that the group has not done with.
        end: Where the next message will come to stand.
    """

    partition: int
    next: int
    end: int

    @property
    def waiting(self) -> int:
        """How many messages there are from `next` on."""
        return self.end - self.next


class Purge:
    """Has a group without consumers be done with a topic; an `on_commit`."""

    def __init__(self) -> None:
        """Know of no answer yet."""
        self._errors: list[Any] = []

    def __call__(self, error: Any, places: Any) -> None:
        """Take the broker's answer."""
        self._errors += [error, *(place.error for place in places or ())]

    def run(self, consumer: Any, topic: str, partitions: list[int], limit: float) -> int:
        """Commit the ends of partitions; return how many messages that passes over.

        Args:
            consumer: One of the group's, with this as its `on_commit`, that consumes nothing.
            topic: The topic.
            partitions: Which of its partitions.
            limit: Seconds for all of it.

        Raises:
            KafkaException: The broker does not let it, or not in time.
        """
        deadline = time.monotonic() + limit
        found = standings(consumer, topic, partitions, limit)
        ends = [TopicPartition(topic, one.partition, one.end) for one in found if one.waiting]
        if ends:
            consumer.commit(offsets=ends, asynchronous=True)
            while not self._errors:
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - librdkafka's name
                consumer.poll(_LOOK)
            for error in filter(None, self._errors):
                raise KafkaException(error)
        return sum(one.waiting for one in found)


def standings(consumer: Any, topic: str, partitions: list[int], limit: float) -> list[Standing]:
    """Return how far a group has come.

    A broker ends a link whose sign-in came late, and librdkafka, which opens another by itself,
    does not repeat this question: it is asked again while there is time.

    Args:
        consumer: One of the group's.
        topic: The topic.
        partitions: Which of its partitions.
        limit: Seconds for all of it.

    Raises:
        KafkaException: The broker does not say it, or not in time.
    """
    if not partitions:
        return []
    deadline = time.monotonic() + limit
    while True:
        try:
            return _standings(consumer, topic, partitions, deadline)
        except KafkaException as raised:
            cut_off = raised.args[0].code() == KafkaError._TRANSPORT  # noqa: SLF001 - librdkafka's name
            if not cut_off or time.monotonic() + _PAUSE > deadline:
                raise
        time.sleep(_PAUSE)


def _standings(consumer: Any, topic: str, partitions: list[int], deadline: float) -> list[Standing]:
    found = []
    left = max(0.1, deadline - time.monotonic())
    committed = consumer.committed([TopicPartition(topic, one) for one in partitions], left)
    for place in committed:
        if place.error is not None:
            raise KafkaException(place.error)
        left = max(0.1, deadline - time.monotonic())
        low, end = consumer.get_watermark_offsets(place, timeout=left)
        # Before the first commit it is a negative number; the broker may have deleted what is old.
        found.append(Standing(partition=place.partition, next=max(low, place.offset), end=end))
    return found
