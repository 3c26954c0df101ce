"""One login at Kafka for its own sake, as a health check wants it: real, bounded, nothing kept."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from celery_mqauth.errors import BrokerUnreachableError
from celery_mqauth.kafka.clients import CLOSE_LIMIT, Consumer, Producer, close_within, new_client
from celery_mqauth.kafka.delivery import deliver
from celery_mqauth.kafka.endpoints import KafkaLink
from celery_mqauth.kafka.errors import NOT_ALLOWED, ClientReports, NotConfirmedError, not_authorized
from celery_mqauth.kafka.limits import check_seconds
from celery_mqauth.kafka.login import sign_in
from celery_mqauth.kafka.settings import common_settings, given
from celery_mqauth.kafka.token import TokenCallback

_LOOK = 0.2

_Settings = dict[str, Any]


def probe(
    link: KafkaLink,
    limit: float,
    *,
    options: Mapping[str, Any] | None = None,
    topic: str | None = None,
) -> None:
    """Sign in anew, and have the broker answer a request for metadata.

    A message is sent and read back only on a topic that somebody names for it: Kafka has no queue
    that goes with its connection, so the message stays, and would be a task to who reads a topic of
    tasks. It is read at the very place that the broker confirmed, without a consumers' group.

    Args:
        link: Where to, and who signs in.
        limit: Seconds that all of it may take.
        options: As Celery's `broker_transport_options`, settings of librdkafka among them.
        topic: A topic for this alone, that may be read and written.

    Raises:
        MQAuthError: What went wrong, as `celery_mqauth.errors` and `kafka.errors` have it.
    """
    deadline = time.monotonic() + check_seconds("the time limit", limit)
    token = TokenCallback(link.source)
    common = common_settings(link, token, options)
    try:
        # A refused token is replaced and tried once more: half of the time for each of the two.
        sign_in(link, token, common | given(options, "kafka_admin_config"), limit / 2)
        if topic is not None:
            writer = common | given(options, "kafka_producer_config")
            reader = common | given(options, "kafka_consumer_config")
            _there_and_back(link, token, writer, reader, topic=topic, deadline=deadline)
    finally:
        token.end()


def _there_and_back(
    link: KafkaLink,
    token: TokenCallback,
    writer: _Settings,
    reader: _Settings,
    *,
    topic: str,
    deadline: float,
) -> None:
    text = uuid.uuid4().bytes
    place = _sent(link, writer, topic, text, deadline)
    # The group is never joined, so that no permission for it is needed; librdkafka wants a name.
    own = {"group.id": "mqauth-health", "enable.auto.commit": False, "enable.partition.eof": False}
    consumer = _client(Consumer, reader | own)
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
        close_within(min(CLOSE_LIMIT, max(0.0, deadline - time.monotonic())), [consumer], token)
    raise NotConfirmedError(
        f"a message in the topic {topic!r} of Kafka at {link} did not come back in time",
        remedy="check the broker's load",
    )


def _sent(
    link: KafkaLink, writer: _Settings, topic: str, text: bytes, deadline: float
) -> TopicPartition:
    left = deadline - time.monotonic()
    if left <= 0:
        # Whoever asked has gone on, as an issuer may take longer than that.
        raise NotConfirmedError(
            f"the login at Kafka at {link} took all of the time, so nothing was sent to {topic!r}",
            remedy="check the issuer's and the broker's load, or allow more time",
        )
    # It has to be sent within the probe's time, and not to wait for others; 0 would be for ever.
    own = {"message.timeout.ms": max(1, round(left * 1000)), "linger.ms": 0}
    delivery = deliver(_client(Producer, writer | own), topic, text, left)
    if delivery.refused:
        raise NotConfirmedError(
            f"librdkafka does not take a message for {topic!r}: {delivery.refused}",
            remedy="see kafka_common_config and kafka_producer_config",
        )
    _raise_for(delivery.error, topic, link)
    if not delivery.told or delivery.error is not None:
        raise NotConfirmedError(
            f"Kafka at {link} has not confirmed a message for {topic!r} in time",
            remedy="check the broker's load and the topic's replicas",
        )
    return TopicPartition(topic, delivery.message.partition(), delivery.message.offset())


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
