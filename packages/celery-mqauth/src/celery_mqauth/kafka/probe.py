"""One login at Kafka for its own sake, as a health check wants it: real, bounded, nothing kept."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from celery_mqauth.errors import BrokerUnreachableError
from celery_mqauth.kafka.endpoints import KafkaLink
from celery_mqauth.kafka.errors import NOT_ALLOWED, ClientReports, NotConfirmedError, not_authorized
from celery_mqauth.kafka.limits import check_seconds
from celery_mqauth.kafka.login import new_client, sign_in
from celery_mqauth.kafka.token import TokenCallback

_SILENT = 2
_LOOK = 0.2
_LEAST = 0.5


def probe(
    link: KafkaLink,
    limit: float,
    *,
    common: Mapping[str, Any] | None = None,
    topic: str | None = None,
) -> None:
    """Sign in anew, and have the broker answer a request for metadata.

    A message is sent and read back only on a topic that somebody names for it: Kafka has no queue
    that goes with its connection, so the message stays, and would be a task to who reads a topic of
    tasks. It is read at the very place that the broker confirmed, without a consumers' group.

    Args:
        link: Where to, and who signs in.
        limit: Seconds that all of it may take.
        common: The user's own settings of librdkafka for all clients.
        topic: A topic for this alone, that may be read and written.

    Raises:
        MQAuthError: What went wrong, as `celery_mqauth.errors` and `kafka.errors` have it.
    """
    deadline = time.monotonic() + check_seconds("the time limit", limit)
    token = TokenCallback(link.source)
    settings = {"log_level": _SILENT, **(common or {}), **link.settings, "oauth_cb": token}
    try:
        # A refused token is replaced and tried once more: half of the time for each of the two.
        sign_in(link, token, settings, limit / 2)
        if topic is not None:
            _there_and_back(link, settings, topic, deadline)
    finally:
        link.source.detach(token)


def _there_and_back(link: KafkaLink, settings: dict[str, Any], topic: str, deadline: float) -> None:
    text = uuid.uuid4().bytes
    place = _sent(link, settings, topic, text, deadline)
    # The group is never joined, so that no permission for it is needed; librdkafka wants a name.
    reader = {**settings, "group.id": "mqauth-health", "enable.auto.commit": False}
    consumer = _client(Consumer, reader)
    try:
        consumer.assign([place])
        while (left := deadline - time.monotonic()) > 0:
            message = consumer.poll(min(left, _LOOK))
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                continue  # librdkafka asks after the group's coordinator, and needs none
            _raise_for(error, topic, link)
            if error is None and message.value() == text:
                return
    finally:
        with contextlib.suppress(KafkaException, RuntimeError):
            consumer.close()
    raise NotConfirmedError(
        f"a message in the topic {topic!r} of Kafka at {link} did not come back in time",
        remedy="check the broker's load",
    )


def _sent(
    link: KafkaLink, settings: dict[str, Any], topic: str, text: bytes, deadline: float
) -> TopicPartition:
    left = max(_LEAST, deadline - time.monotonic())
    producer = _client(Producer, {**settings, "message.timeout.ms": round(left * 1000)})
    told: list[tuple[Any, Any]] = []
    producer.produce(topic, text, on_delivery=lambda error, message: told.append((error, message)))
    producer.flush(left)
    if not told:
        raise NotConfirmedError(
            f"Kafka at {link} has not confirmed a message for {topic!r} in time",
            remedy="check the broker's load and the topic's replicas",
        )
    error, message = told[0]
    _raise_for(error, topic, link)
    return TopicPartition(topic, message.partition(), message.offset())


def _raise_for(error: Any, topic: str, link: KafkaLink) -> None:
    if error is None:
        return
    if error.code() in NOT_ALLOWED:
        raise not_authorized(error, topic, link)
    if error.fatal() or not error.retriable():
        raise BrokerUnreachableError(
            f"Kafka at {link} did nothing with the topic {topic!r}: {error.str()}",
            remedy="create the topic, or see the broker's log",
        )


def _client(make: Any, settings: dict[str, Any]) -> Any:
    return new_client(make, {**settings, "error_cb": ClientReports()})
