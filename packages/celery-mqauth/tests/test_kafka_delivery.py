"""What becomes of a message that is given up, which no broker can be made to do at a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("confluent_kafka")

from confluent_kafka import KafkaError

from celery_mqauth.kafka.delivery import deliver


class Late:
    """A producer that has something to say only when it is asked once more."""

    def __init__(self, failure: KafkaError | None) -> None:
        """Nothing has been produced yet."""
        self._failure = failure
        self._tell: Callable[[Any, Any], object] = print
        self.purged = False

    def produce(self, topic: str, text: bytes, on_delivery: Callable[[Any, Any], object]) -> None:
        """Take a message."""
        del topic, text
        self._tell = on_delivery

    def flush(self, limit: float) -> None:
        """Know nothing yet."""

    def purge(self) -> None:
        """Throw away what is left."""
        self.purged = True

    def poll(self, limit: float) -> None:
        """Tell."""
        del limit
        self._tell(self._failure, "a message")


def test_a_confirmation_at_the_last_moment_counts() -> None:
    """The broker has the message: to publish it again would run a task twice."""
    producer = Late(None)
    delivery = deliver(producer, "celery", b"", 0.0)
    assert (delivery.told, delivery.error, delivery.message) == (True, None, "a message")


def test_what_is_thrown_away_was_not_told() -> None:
    """That librdkafka purged it is our doing, and no answer of the broker's."""
    producer = Late(KafkaError(KafkaError._PURGE_QUEUE))
    delivery = deliver(producer, "celery", b"", 0.0)
    assert producer.purged
    assert not delivery.told
    assert delivery.error is None
