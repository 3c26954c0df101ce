"""How far a group has come is asked again where a link is cut in between.

librdkafka's answers are played: no real link can be cut at just this moment.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from celery_mqauth.kafka import offsets
from celery_mqauth.kafka.offsets import Standing, standings

CUT, DENIED = KafkaError._TRANSPORT, KafkaError.TOPIC_AUTHORIZATION_FAILED


class Consumer:
    """Answers with errors first.

    Args:
        commits: Codes of the first answers to where the group stands.
        ends: Those to where the topic ends.
    """

    def __init__(self, *, commits: list[int] | None = None, ends: list[int] | None = None) -> None:
        """Have answered nothing yet."""
        self._commits, self._ends = commits or [], ends or []
        self.asked = 0

    def committed(self, places: list[TopicPartition], limit: float) -> list[TopicPartition]:
        """Return where the group stands."""
        self.asked += 1
        if self._commits:
            raise KafkaException(KafkaError(self._commits.pop(0)))
        return [TopicPartition(place.topic, place.partition, 3) for place in places]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float) -> tuple[int, int]:
        """Return the first and the next message of a partition."""
        if self._ends:
            raise KafkaException(KafkaError(self._ends.pop(0)))
        return 0, 7


@pytest.mark.parametrize("broken", [{"commits": [CUT, CUT]}, {"ends": [CUT, CUT]}])
def test_a_cut_link_is_no_answer(broken: dict[str, Any]) -> None:
    """The next link brings it."""
    consumer = Consumer(**broken)
    assert standings(consumer, "topic", [0], 10) == [Standing(partition=0, next=3, end=7)]
    assert consumer.asked == 3


def test_a_refusal_is_one() -> None:
    """What the broker says itself is said at once."""
    consumer = Consumer(ends=[DENIED])
    with pytest.raises(KafkaException) as raised:
        standings(consumer, "topic", [0], 10)
    assert raised.value.args[0].code() == DENIED
    assert consumer.asked == 1


def test_a_link_that_stays_cut_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for as long as the limit allows, and not longer."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(offsets, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    consumer = Consumer(commits=[CUT] * 1000)
    with pytest.raises(KafkaException) as raised:
        standings(consumer, "topic", [0], 2.0)
    assert raised.value.args[0].code() == CUT
    assert 1.5 <= now <= 2.0
    assert 15 <= consumer.asked <= 21
