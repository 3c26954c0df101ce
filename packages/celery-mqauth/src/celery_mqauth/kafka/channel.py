"""A channel whose clients sign in by token, and which says so when they get nowhere."""

from __future__ import annotations

import contextlib
import logging
import time
from queue import Empty
from typing import Any

from confluent_kafka import KafkaException
from kombu.utils.encoding import str_to_bytes
from kombu.utils.json import dumps

from celery_mqauth.kafka.clients import CLOSE_LIMIT, Consumer, Producer, close_within, new_client
from celery_mqauth.kafka.commits import Commits
from celery_mqauth.kafka.delivery import deliver
from celery_mqauth.kafka.errors import (
    NO_SUCH_TOPIC,
    ClientReports,
    NotConfirmedError,
    not_accepted,
)
from celery_mqauth.kafka.limits import PUBLISH_LIMIT
from celery_mqauth.kafka.payload import payload_of
from celery_mqauth.kafka.qos import Message, QoS
from celery_mqauth.kafka.token import TokenCallback
from celery_mqauth.kafka.topics_channel import TopicsChannel
from mqauth import forks

logger = logging.getLogger(__name__)

_LOOK = 1.0
_TURN = 0.05
"""Seconds for which one of several topics without messages is waited for."""


class Channel(TopicsChannel):
    """Kombu's channel on clients with renewed tokens; every wait in it has an end."""

    QoS = QoS
    Message = Message

    # Kombu's 5 s are for each queue in turn, and as long as a worker takes to notice its shutdown.
    default_wait_time_seconds = 1

    def __init__(self, connection: Any, **options: Any) -> None:
        """Sign in."""
        self.link = connection.link
        self.token = TokenCallback(self.link.source)
        self._reports = {}
        self._commits: dict[str, Commits] = {}
        self._troubled_since: dict[str, float] = {}
        super().__init__(connection, **options)
        forks.after_in_child(self, Channel._mark_as_inherited)

    def close(self) -> None:
        """End all clients; what was acknowledged is committed first."""
        if not self.closed:
            consumers: dict[str, Any] = self._kafka_consumers
            self._kafka_consumers: dict[str, Any] = {}
            super().close()
            # A client lives, and renews its token, for as long as somebody has it.
            self._client = None
            try:
                close_within(CLOSE_LIMIT, consumers.values(), self.token)
            finally:
                self.token.end()

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
        # Said of the message by the broker, or by librdkafka, which remembers it for a while.
        self._check_allowed(delivery.error, topic)
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

    def _hear(self) -> None:
        """Have clients that are seldom used hand over librdkafka's lines, which pile up else."""
        for client in (self._client, *self._kafka_producers.values()):
            if client is not None:
                client.poll(0)

    def _not_published(self, topic: str, error: Any) -> Exception:
        reports = self._reports[""]
        if self.token.failure is not None or reports.newest() is not None:
            return self._cause(reports)
        reason = error.str() if error is not None else f"no answer in {self._publish_limit:g} s"
        return NotConfirmedError(
            f"Kafka at {self.link} has not confirmed a message for {topic!r}: {reason}",
            remedy="check the broker's load and the topic's replicas",
        )

    def _new_client(self, make: Any, settings: dict[str, Any], key: str) -> Any:
        reports = self._reports[key] = ClientReports(settings.get("error_cb"))
        return new_client(make, {**settings, "error_cb": reports})

    @property
    def _publish_limit(self) -> float:
        return float(self.options.get("publish_limit", PUBLISH_LIMIT))
