"""A channel that notices an expired credential before it publishes, and can change connections."""

# ruff: noqa: FBT001, FBT002, PLR0917, SLF001 - the signatures are py-amqp's, and elders are of this class.

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import amqp

from celery_mqauth import replacement
from celery_mqauth.asking import AskingChannel
from celery_mqauth.deliveries import origin_of, tag_of
from celery_mqauth.errors import HeartbeatNotSentError
from celery_mqauth.exclusive_queues import ExclusiveQueue
from celery_mqauth.worker_heartbeats import is_heartbeat

CLOSED = "the connection of this message is closed"


class Channel(AskingChannel):
    """Kombu's channel with a guard in front of every publish and every delivery.

    It remembers what it takes to go on over another connection (see `replacement`), and sends each
    acknowledgement over the connection that the message came over.
    """

    def __init__(self, connection: Any, *args: Any, **options: Any) -> None:
        """Begin with the first generation of deliveries."""
        self.generation = 0
        self.next_generation = 1
        self.unacknowledged: set[int] = set()
        """Numbers of deliveries of this generation that wait for an answer."""
        self.elders: dict[int, Channel] = {}
        """What stands for this channel on its earlier connections, by generation."""
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.prefetch: dict[bool, tuple[int, int, bool]] = {}
        self.ending_without_ack: set[str] = set()
        """Consumers whose deliveries nobody acknowledges, while they are being cancelled."""
        self.in_transaction = False
        self.front: Channel | None = None
        """The channel that it stands for, if it is one of the elders."""
        # Threads acknowledge while the owner's thread moves the channel.
        self.moving = threading.RLock()
        super().__init__(connection, *args, **options)

    def _basic_publish(self, *args: Any, **kwargs: Any) -> Any:
        connection = self.connection
        if connection is not None and connection.superseded:
            connection = replacement.renewed(connection)
        if connection is not None and time.time() >= connection.usable_until:
            if is_heartbeat(args, kwargs) and not connection.inherited:
                # The connection stays: the broker closes it, or a renewal saves it.
                raise connection.expired_for(HeartbeatNotSentError)
            connection.give_up_expired()
        return super()._basic_publish(*args, **kwargs)

    # Kombu calls `basic_publish`, publisher confirms call `_basic_publish`; in py-amqp the one is
    # an alias of the other, so replacing one alone would leave the other unguarded.
    basic_publish = _basic_publish

    def basic_consume(self, queue: str = "", consumer_tag: str = "", **options: Any) -> Any:
        """Consume, and remember how."""
        tag = super().basic_consume(queue, consumer_tag, **options)
        self.subscriptions[tag] = {"queue": queue, "consumer_tag": tag, **options}
        self.ending_without_ack.discard(tag)  # of an earlier consumer of that name
        return tag

    def _remove_tag(self, consumer_tag: str) -> Any:
        self.ending_without_ack.discard(consumer_tag)
        self._forget_subscription(consumer_tag)
        return super()._remove_tag(consumer_tag)

    def basic_cancel(self, consumer_tag: str, *args: Any, **options: Any) -> Any:
        """Stop consuming."""
        self._forget_subscription(consumer_tag)
        no_ack: Any = self.no_ack_consumers
        # Deliveries come until the broker's answer, however the wait for it ends, and py-amqp
        # forgets before it asks. Where no answer is asked for, nobody knows which is the last.
        self.ending_without_ack |= {consumer_tag} & no_ack
        return super().basic_cancel(consumer_tag, *args, **options)

    def _forget_subscription(self, consumer_tag: str) -> None:
        gone = self.subscriptions.pop(consumer_tag, None)
        if gone is not None and self.connection is not None:
            replacement.consumer_gone(self.connection, gone["queue"])

    def basic_qos(
        self, prefetch_size: int, prefetch_count: int, a_global: bool, **options: Any
    ) -> Any:
        """Limit the deliveries under way, and remember the limit."""
        self.prefetch[bool(a_global)] = (prefetch_size, prefetch_count, a_global)
        return super().basic_qos(prefetch_size, prefetch_count, a_global, **options)

    def queue_declare(self, queue: str = "", *args: Any, **options: Any) -> Any:
        """Declare a queue, and remember it if only this connection may use it."""
        result = super().queue_declare(queue, *args, **options)
        if options.get("exclusive") and not options.get("passive"):
            name = result[0] if result else queue
            self.connection.exclusive_queues[name] = ExclusiveQueue(name, options)
        return result

    def queue_bind(
        self, queue: str, exchange: str = "", routing_key: str = "", **options: Any
    ) -> Any:
        """Bind a queue, and remember that of an exclusive one."""
        # Without a connection py-amqp says so, in a class of errors that Kombu acts on.
        known = self.connection and self.connection.exclusive_queues.get(queue)
        if known:
            known.bindings[exchange, routing_key] = options
        return super().queue_bind(queue, exchange, routing_key, **options)

    def queue_delete(self, queue: str = "", *args: Any, **options: Any) -> Any:
        """Delete a queue."""
        if self.connection is not None:
            self.connection.exclusive_queues.pop(queue, None)
        return super().queue_delete(queue, *args, **options)

    def tx_select(self) -> Any:
        """Begin transactions; these cannot move."""
        self.in_transaction = True
        return super().tx_select()

    def _on_basic_deliver(
        self,
        consumer_tag: str,
        delivery_tag: int,
        redelivered: bool,
        exchange: str,
        routing_key: str,
        msg: Any,
    ) -> None:
        connection = self.connection
        no_ack: Any = self.no_ack_consumers
        if consumer_tag not in no_ack and consumer_tag not in self.ending_without_ack:
            if connection is not None and connection.lapsed:
                # The broker has given it to another consumer since: handled here, it would run
                # twice.
                connection.give_up_expired()
            self.unacknowledged.add(delivery_tag)
        tag = tag_of(self.generation, delivery_tag)
        callback: Any = self.callbacks.get(consumer_tag)
        transport = None if connection is None else connection._transport
        if callback is None or transport is None:
            super()._on_basic_deliver(consumer_tag, tag, redelivered, exchange, routing_key, msg)
            return
        # As py-amqp does, except that what strikes up to here has lost the message.
        msg.channel = self
        msg.delivery_info = {
            "consumer_tag": consumer_tag,
            "delivery_tag": tag,
            "redelivered": redelivered,
            "exchange": exchange,
            "routing_key": routing_key,
        }
        # Here and not by a function: nothing strikes between plain assignments and a call.
        connection._reading.now = transport.in_frame = False
        callback(msg)

    def basic_get(self, queue: str = "", no_ack: bool = False, **options: Any) -> Any:
        """Return one message of a queue, if there is one."""
        if self.connection is not None:
            replacement.up_to_date(self.connection)
        message = super().basic_get(queue, no_ack, **options)
        if message is not None:
            number = message.delivery_info["delivery_tag"]
            if not no_ack:
                self.unacknowledged.add(number)
            message.delivery_info["delivery_tag"] = tag_of(self.generation, number)
        return message

    def basic_ack(self, delivery_tag: int, multiple: bool = False, **options: Any) -> Any:
        """Acknowledge over the connection that the message came over."""
        with self.moving:
            channel, number = self._answering(delivery_tag)
            if multiple:
                self._settle_elders(channel.generation, acknowledged=True)
            with channel._settling(number, multiple=multiple):
                return super(Channel, channel).basic_ack(number, multiple, **options)

    def basic_reject(self, delivery_tag: int, requeue: bool, **options: Any) -> Any:
        """Reject over the connection that the message came over."""
        with self.moving:
            channel, number = self._answering(delivery_tag)
            with channel._settling(number):
                return super(Channel, channel).basic_reject(number, requeue, **options)

    def basic_recover(self, requeue: bool = False) -> Any:
        """Have everything delivered again that has not been answered."""
        with self.moving:
            self._settle_elders(self.generation, acknowledged=False)
            self.unacknowledged.clear()
            return super().basic_recover(requeue)

    def close(self, *args: Any, **options: Any) -> Any:
        """Close the channel, and what stands for it elsewhere."""
        for elder in list(self.elders.values()):
            replacement.close_quietly(elder)
        for consumer_tag in list(self.subscriptions):
            self._forget_subscription(consumer_tag)
        return super().close(*args, **options)

    def collect(self) -> None:
        """Let go of everything."""
        self.unacknowledged.clear()
        self.ending_without_ack.clear()
        self.subscriptions.clear()
        super().collect()

    def _answering(self, tag: int) -> tuple[Channel, int]:
        generation, number = origin_of(tag)
        channel = self if generation == self.generation else self.elders.get(generation)
        if channel is None:
            raise amqp.RecoverableConnectionError(CLOSED)
        return channel, number

    @contextlib.contextmanager
    def _settling(self, number: int, *, multiple: bool = False) -> Iterator[None]:
        """Count deliveries as answered once the answer is written.

        Not before: the owner's thread closes an earlier connection of which nothing waits.
        """
        waiting = self.unacknowledged
        # Not later: by then the owner's thread may have read newer ones.
        settled = {n for n in waiting.copy() if not number or n <= number} if multiple else {number}
        try:
            yield
        except struct.error:
            # py-amqp packs the number of a channel that another thread has closed meanwhile.
            if self.channel_id is not None:
                raise
            raise amqp.RecoverableConnectionError(CLOSED) from None
        finally:
            waiting.difference_update(settled)

    def _settle_elders(self, before: int, *, acknowledged: bool) -> None:
        for generation, elder in list(self.elders.items()):
            if generation >= before or not elder.unacknowledged:
                continue
            # Where a link is broken the broker takes its messages back; the others' go on.
            with (
                contextlib.suppress(OSError, amqp.RecoverableConnectionError),
                elder._settling(0, multiple=True),
            ):
                if acknowledged:
                    super(Channel, elder).basic_ack(0, multiple=True)
                else:
                    super(Channel, elder).basic_recover(requeue=True)

    def _on_close(self, reply_code: int, reply_text: str, class_id: int, method_id: int) -> None:
        connection = self.connection
        # py-amqp opens the channel anew, with nothing of what was there.
        self.unacknowledged.clear()
        self.ending_without_ack.clear()
        self.subscriptions.clear()
        try:
            super()._on_close(reply_code, reply_text, class_id, method_id)
        except amqp.AccessRefused:
            # Up to 4.2.5 RabbitMQ answers an expired credential with 403 on the channel, which
            # Celery takes for final; later versions may do so just before closing the connection.
            if connection is not None and time.time() >= connection.usable_until:
                connection.give_up_expired()
            raise
