"""Where a group of consumers stands in a topic, and how much is in front of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, TopicPartition


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


def standings(consumer: Any, topic: str, partitions: list[int], limit: float) -> list[Standing]:
    """Return how far a group has come.

    Args:
        consumer: One of the group's.
        topic: The topic.
        partitions: Which of its partitions.
        limit: Seconds for all of it.

    Raises:
        KafkaException: The broker does not say it, or not in time.
    """
    deadline = time.monotonic() + limit
    found = []
    committed = consumer.committed([TopicPartition(topic, one) for one in partitions], limit)
    for place in committed:
        if place.error is not None:
            raise KafkaException(place.error)
        left = max(0.1, deadline - time.monotonic())
        low, end = consumer.get_watermark_offsets(place, timeout=left)
        # Before the first commit it is a negative number; the broker may have deleted what is old.
        found.append(Standing(partition=place.partition, next=max(low, place.offset), end=end))
    return found
