"""What a channel does with topics as a whole: they are made, measured, emptied and deleted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import amqp
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from kombu.transport import confluentkafka

from celery_mqauth.errors import BrokerUnreachableError
from celery_mqauth.kafka.clients import CLOSE_LIMIT, Consumer, close_within, new_client
from celery_mqauth.kafka.endpoints import KafkaLink
from celery_mqauth.kafka.errors import (
    NOT_ALLOWED,
    ClientReports,
    NotConfirmedError,
    cause_of,
    not_accepted,
    not_authorized,
)
from celery_mqauth.kafka.limits import CONNECT_LIMIT
from celery_mqauth.kafka.login import has_signed_in, sign_in
from celery_mqauth.kafka.offsets import IN_USE, Purge, standings
from celery_mqauth.kafka.settings import common_settings, given
from celery_mqauth.kafka.token import TokenCallback
from celery_mqauth.kafka.topics import new_topic

_LOOK = 1.0


class TopicsChannel(confluentkafka.Channel):
    """Kombu's channel with an admin client of ours; every wait in it has an end."""

    link: KafkaLink
    token: TokenCallback
    _inherited: bool = False
    _reports: dict[Any, ClientReports]

    @cached_property
    def common_config(self) -> dict[str, Any]:
        """Settings of librdkafka for all clients."""
        return common_settings(self.link, self.token, self.options)

    @property
    def client(self) -> AdminClient:
        """The admin client.

        Raises:
            amqp.RecoverableConnectionError: This process was forked from the one whose it is.
        """
        self._check_own()
        client: AdminClient = super().client
        return client

    def existing_consumer(self, topic: str) -> Any:
        """Return the consumer of a topic, or None."""
        self._check_own()
        return self._kafka_consumers.get(topic)

    def _check_own(self) -> None:
        if self._inherited:
            raise amqp.RecoverableConnectionError(
                "the connection belongs to the process that this one was forked from"
            )

    def _open(self) -> AdminClient:
        settings = {**self.common_config, **self._given("kafka_admin_config")}
        return sign_in(self.link, self.token, settings, self._connect_limit)

    def _consumer_settings(self, topic: str) -> dict[str, Any]:
        return {
            "group.id": f"{topic}-consumer-group",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **self.common_config,
            **self._given("kafka_consumer_config"),
        }

    def _check_allowed(self, error: Any, topic: str) -> None:
        if error is not None and error.code() in NOT_ALLOWED:
            of_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
            what = self._consumer_settings(topic)["group.id"] if of_group else topic
            raise not_authorized(error, str(what), self.link)

    def _has_queue(self, queue: str, **options: Any) -> bool:
        return self.sanitize_queue_name(queue) in self._topics()

    def _new_queue(self, queue: str, **options: Any) -> None:
        topic = self.sanitize_queue_name(queue)
        if topic in self._topics():
            return
        wanted = new_topic(topic, self.options)
        future = self.client.create_topics([wanted], request_timeout=self._connect_limit)[topic]
        self._wait_for(future, topic, KafkaError.TOPIC_ALREADY_EXISTS)

    def _delete(self, queue: str, *args: Any, **options: Any) -> None:
        topic = self.sanitize_queue_name(queue)
        consumer = self._kafka_consumers.pop(topic, None)
        if consumer is not None:
            close_within(CLOSE_LIMIT, [consumer], self.token)
        future = self.client.delete_topics([topic], request_timeout=self._connect_limit)[topic]
        self._wait_for(future, topic, KafkaError.UNKNOWN_TOPIC_OR_PART)

    def _size(self, queue: str) -> int:
        """Return how many messages wait in those partitions that this channel consumes."""
        topic = self.sanitize_queue_name(queue)
        consumer = self.existing_consumer(topic)
        if consumer is None:
            return 0
        with self._told(topic):
            partitions = [place.partition for place in consumer.assignment()]
            found = standings(consumer, topic, partitions, self._connect_limit)
        return sum(one.waiting for one in found)

    def _purge(self, queue: str) -> int:
        """Pass over what waits; return how many messages.

        Raises:
            NotAuthorizedError: The broker does not let this principal do that.
            NotConfirmedError: Others consume the topic, and each decides for itself.
        """
        topic = self.sanitize_queue_name(queue)
        consumer = self.existing_consumer(topic)
        own = [place.partition for place in consumer.assignment()] if consumer is not None else []
        with self._told(topic):
            if not own:
                return self._purge_for_others(topic)
            purged = 0
            for one in standings(consumer, topic, own, self._connect_limit):
                place = TopicPartition(topic, one.partition, one.end)
                (at,) = consumer.position([place])
                purged += one.end - max(one.next, at.offset)
                consumer.seek(place)
                self.qos.done_before(topic, one.partition, one.end)
        return purged

    def _purge_for_others(self, topic: str) -> int:
        known = self._topics().get(topic)
        if known is None:
            return 0
        purge = Purge()
        settings = {**self._consumer_settings(topic), "on_commit": purge}
        consumer = new_client(Consumer, {**settings, "error_cb": ClientReports()})
        try:
            return purge.run(consumer, topic, list(known.partitions), self._connect_limit)
        except KafkaException as raised:
            if raised.args[0].code() not in IN_USE:
                raise
            raise NotConfirmedError(
                f"the topic {topic!r} was not purged, as others consume it: {raised.args[0].str()}",
                remedy="stop its workers first",
            ) from None
        finally:
            close_within(CLOSE_LIMIT, [consumer], self.token)

    @contextlib.contextmanager
    def _told(self, topic: str) -> Iterator[None]:
        """Tell what librdkafka raises about a topic as what it means."""
        try:
            yield
        except KafkaException as raised:
            self._check_allowed(raised.args[0], topic)
            reports = self._reports.get(topic) or ClientReports()
            raise self._cause(reports, raised.args[0].str()) from None

    def _topics(self) -> Any:
        try:
            return self.client.list_topics(timeout=self._connect_limit).topics
        except KafkaException:
            self.client.poll(0)
            raise self._cause(ClientReports()) from None

    def _wait_for(self, future: Any, topic: str, harmless: int) -> None:
        try:
            future.result(self._connect_limit + _LOOK)
        except KafkaException as raised:
            error = raised.args[0]
            if error.code() in NOT_ALLOWED:
                raise not_authorized(error, topic, self.link) from None
            unacceptable = not_accepted(error, topic, self.link)
            if unacceptable is not None:
                raise unacceptable from None
            if error.code() != harmless:
                raise BrokerUnreachableError(
                    f"Kafka at {self.link} did nothing about the topic {topic!r}: {error.str()}",
                    remedy="see the broker's log",
                ) from None

    def _cause(self, reports: ClientReports, said: str = "") -> Exception:
        return cause_of(
            reports,
            self.link,
            failure=self.token.failure,
            known=has_signed_in(self.link),
            otherwise=said or f"no answer within {self._connect_limit:g} s",
        )

    def _given(self, name: str) -> dict[str, Any]:
        return given(self.options, name)

    @property
    def _connect_limit(self) -> float:
        return float(self.options.get("connect_limit", CONNECT_LIMIT))
