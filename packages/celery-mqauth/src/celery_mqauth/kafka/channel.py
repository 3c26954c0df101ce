"""A channel whose clients sign in by token, and which says so when they get nowhere."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from queue import Empty
from typing import Any

import amqp
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from kombu.transport import confluentkafka
from kombu.utils.encoding import str_to_bytes
from kombu.utils.json import dumps

from celery_mqauth.errors import BrokerUnreachableError
from celery_mqauth.kafka.clients import Consumer, Producer, new_client
from celery_mqauth.kafka.commits import Commits
from celery_mqauth.kafka.delivery import deliver
from celery_mqauth.kafka.endpoints import KafkaLink
from celery_mqauth.kafka.errors import (
    NO_SUCH_TOPIC,
    NOT_ALLOWED,
    ClientReports,
    NotConfirmedError,
    cause_of,
    not_accepted,
    not_authorized,
)
from celery_mqauth.kafka.limits import CONNECT_LIMIT, PUBLISH_LIMIT
from celery_mqauth.kafka.login import has_signed_in, sign_in
from celery_mqauth.kafka.offsets import IN_USE, Purge, standings
from celery_mqauth.kafka.payload import payload_of
from celery_mqauth.kafka.qos import Message, QoS
from celery_mqauth.kafka.settings import common_settings, given
from celery_mqauth.kafka.token import TokenCallback
from celery_mqauth.kafka.topics import new_topic
from mqauth import forks

logger = logging.getLogger(__name__)

CLOSE_LIMIT = 5.0
"""Seconds for consumers to commit and to leave their groups."""

_LOOK = 1.0
_TURN = 0.05
"""Seconds for which one of several topics without messages is waited for."""


class Channel(confluentkafka.Channel):
    """Kombu's channel on clients with renewed tokens; every wait in it has an end."""

    QoS = QoS
    Message = Message

    # Kombu's 5 s are for each queue in turn, and as long as a worker takes to notice its shutdown.
    default_wait_time_seconds = 1

    def __init__(self, connection: Any, **options: Any) -> None:
        """Sign in."""
        self.link: KafkaLink = connection.link
        self.token = TokenCallback(self.link.source)
        self._reports: dict[Any, ClientReports] = {}
        self._commits: dict[str, Commits] = {}
        self._troubled_since: dict[str, float] = {}
        self._inherited = False
        super().__init__(connection, **options)
        forks.after_in_child(self, Channel._mark_as_inherited)

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

    def close(self) -> None:
        """End all clients; what was acknowledged is committed first."""
        if not self.closed:
            consumers: dict[str, Any] = self._kafka_consumers
            self._kafka_consumers: dict[str, Any] = {}
            super().close()
            _close_within(CLOSE_LIMIT, consumers.values())
            # A client lives, and renews its token, for as long as somebody has it.
            self._client = None
            self.link.source.detach(self.token)

    def basic_consume(
        self,
        queue: str,
        no_ack: bool,  # noqa: FBT001 - Kombu's
        callback: Any,
        consumer_tag: str,
        **options: Any,
    ) -> Any:
        """Consume; what needs no acknowledgement is done with when it is delivered."""

        def done_with(message: Any) -> Any:
            self._done_with(message)
            return callback(message)

        deliver_to = done_with if no_ack else callback
        return super().basic_consume(queue, no_ack, deliver_to, consumer_tag, **options)

    def basic_get(self, queue: str, no_ack: bool = False, **options: Any) -> Any:  # noqa: FBT001, FBT002 - Kombu's
        """Return a message or None; it is done with if it needs no acknowledgement."""
        message = super().basic_get(queue, no_ack=no_ack, **options)
        if no_ack and message is not None:
            self._done_with(message)
        return message

    def _done_with(self, message: Any) -> None:
        self.qos.done_before(message.topic, message.partition, message.offset + 1)

    def _mark_as_inherited(self) -> None:
        # The clients stay in memory, which `kafka.clients` sees to.
        self._inherited = True
        self._client = None
        self._kafka_consumers = {}
        self._kafka_producers: dict[str, Any] = {}

    def _check_own(self) -> None:
        if self._inherited:
            raise amqp.RecoverableConnectionError(
                "the connection belongs to the process that this one was forked from"
            )

    def _open(self) -> AdminClient:
        settings = {**self.common_config, **self._given("kafka_admin_config")}
        return sign_in(self.link, self.token, settings, self._connect_limit)

    def _get_producer(self, queue: str) -> Any:
        self._check_own()
        # One for all topics: each has a link, and a login, to each broker.
        producer = self._kafka_producers.get("")
        if producer is None:
            settings = {"message.timeout.ms": round(self._publish_limit * 1000)}
            settings |= self.common_config | self._given("kafka_producer_config")
            producer = self._new_client(Producer, settings, "")
            self._kafka_producers[""] = producer
        return producer

    def _get_consumer(self, queue: str) -> Any:
        self._check_own()
        topic = self.sanitize_queue_name(queue)
        consumer = self._kafka_consumers.get(topic)
        if consumer is None:
            settings = self._consumer_settings(topic)
            commits = self._commits[topic] = Commits(topic, settings.get("on_commit"))
            consumer = self._new_client(Consumer, {**settings, "on_commit": commits}, topic)
            consumer.subscribe([topic])
            self._kafka_consumers[topic] = consumer
        return consumer

    def _consumer_settings(self, topic: str) -> dict[str, Any]:
        return {
            "group.id": f"{topic}-consumer-group",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **self.common_config,
            **self._given("kafka_consumer_config"),
        }

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        """Publish, and wait until the broker has confirmed it.

        Raises:
            NotAuthorizedError: The broker does not let this principal write there.
            NotAcceptedError: The message is too large, or there can be no such topic.
            NotConfirmedError: It has not confirmed it in time.
        """
        topic = self.sanitize_queue_name(queue)
        self._hear()
        text = str_to_bytes(dumps(message))
        # A moment longer than it keeps trying, so that it says why before this ends.
        delivery = deliver(self._get_producer(topic), topic, text, self._publish_limit + _LOOK)
        unacceptable = not_accepted(delivery.error, topic, self.link)
        if unacceptable is not None:
            raise unacceptable
        if delivery.refused:
            raise NotConfirmedError(
                f"librdkafka does not take a message for {topic!r}: {delivery.refused}",
                remedy="see the log for why earlier ones do not get through",
            )
        if not delivery.told:
            # It throws away what it holds, and would do so to the next message as well.
            self._kafka_producers.pop("", None)
        if delivery.error is not None or not delivery.told:
            raise self._not_published(topic, delivery.error)
        self._reports[""].clear()

    def _poll(self, cycle: Any, callback: Any, timeout: float | None = None) -> Any:
        """Deliver a message of one of the topics; wait only while none of them has any."""
        wait = self.wait_time_seconds if timeout is None else min(self.wait_time_seconds, timeout)
        deadline = time.monotonic() + wait
        turn = 0.0
        while True:
            try:
                return cycle.get(callback, wait=turn)
            except Empty:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
            topics = len(self._active_queues)
            turn = left if topics == 1 else min(_TURN, left / topics)

    def _get_and_deliver(self, queue: str, callback: Any, wait: float | None = None) -> None:
        callback(self._get(queue, wait=wait), queue)

    def _get(self, queue: str, wait: float | None = None, **options: Any) -> dict[str, Any]:
        """Return the next message.

        Args:
            queue: Its name.
            wait: Seconds to wait for it, those of the transport options by default.
            options: Nothing that Kafka knows.

        Raises:
            Empty: There is none at this moment.
            NotAuthorizedError: The broker does not let this principal read there, or takes no
                acknowledgement of it.
            amqp.RecoverableConnectionError: The broker has been out of reach for too long.
        """
        topic = self.sanitize_queue_name(queue)
        consumer = self._get_consumer(topic)
        self._check_allowed(self._commits[topic].refusal(), topic)
        message = consumer.poll(self.wait_time_seconds if wait is None else wait)
        error = message.error() if message is not None else None
        if message is None or error is not None:
            self._look_after(topic, consumer, error)
            raise Empty
        self._troubled_since.pop(topic, None)
        self._reports[topic].clear()
        payload = payload_of(message, self)
        if payload is None:
            logger.error(
                "the message at offset %d of partition %d in the topic %r is not one of Kombu's, "
                "and is passed over (let nobody else write there)",
                *(message.offset(), message.partition(), topic),
            )
            self.qos.done_before(topic, message.partition(), message.offset() + 1)
            raise Empty
        return payload

    def _look_after(self, topic: str, consumer: Any, error: Any) -> None:
        """Find out whether a consumer that has nothing is cut off; librdkafka tries for ever."""
        self._hear()
        reports = self._reports[topic]
        if error is not None:
            self._check_allowed(error, topic)
            if error.code() not in NO_SUCH_TOPIC:
                reports(error)
        if reports.newest() is None:
            return
        since = self._troubled_since.setdefault(topic, time.monotonic())
        with contextlib.suppress(KafkaException):
            consumer.list_topics(timeout=_LOOK)
            self._troubled_since.pop(topic)
            reports.clear()
            return
        if time.monotonic() - since > self._connect_limit:
            raise self._cause(reports)

    def _check_allowed(self, error: Any, topic: str) -> None:
        if error is not None and error.code() in NOT_ALLOWED:
            of_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
            what = self._consumer_settings(topic)["group.id"] if of_group else topic
            raise not_authorized(error, str(what), self.link)

    def _hear(self) -> None:
        """Have clients that are seldom used hand over librdkafka's lines, which pile up else."""
        for client in (self._client, *self._kafka_producers.values()):
            if client is not None:
                client.poll(0)

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
            _close_within(CLOSE_LIMIT, [consumer])
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
            _close_within(CLOSE_LIMIT, [consumer])

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

    def _not_published(self, topic: str, error: Any) -> Exception:
        if error is not None and error.code() in NOT_ALLOWED:
            return not_authorized(error, topic, self.link)
        reports = self._reports[""]
        if self.token.failure is not None or reports.newest() is not None:
            return self._cause(reports)
        reason = error.str() if error is not None else f"no answer in {self._publish_limit:g} s"
        return NotConfirmedError(
            f"Kafka at {self.link} has not confirmed a message for {topic!r}: {reason}",
            remedy="check the broker's load and the topic's replicas",
        )

    def _cause(self, reports: ClientReports, said: str = "") -> Exception:
        return cause_of(
            reports,
            self.link,
            failure=self.token.failure,
            known=has_signed_in(self.link),
            otherwise=said or f"no answer within {self._connect_limit:g} s",
        )

    def _new_client(self, make: Any, settings: dict[str, Any], key: str) -> Any:
        reports = self._reports[key] = ClientReports(settings.get("error_cb"))
        return new_client(make, {**settings, "error_cb": reports})

    def _given(self, name: str) -> dict[str, Any]:
        return given(self.options, name)

    @property
    def _connect_limit(self) -> float:
        return float(self.options.get("connect_limit", CONNECT_LIMIT))

    @property
    def _publish_limit(self) -> float:
        return float(self.options.get("publish_limit", PUBLISH_LIMIT))


def _close_within(limit: float, consumers: Iterable[Any]) -> None:
    """Close consumers at the same time, and leave those behind that wait for a broker."""
    closing = [
        threading.Thread(target=_close, args=(consumer,), name="mqauth-kafka-close", daemon=True)
        for consumer in consumers
    ]
    deadline = time.monotonic() + limit
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join(max(0.0, deadline - time.monotonic()))


def _close(consumer: Any) -> None:
    with contextlib.suppress(KafkaException, RuntimeError):
        consumer.close()
