"""Make before break: the channels of a connection go over to a new one before the old one closes.

RabbitMQ takes a new secret on an open connection only for the same user. Where each credential has
a user name of its own, the connection under the channels is exchanged instead:

1. a new connection signs in with the new credential, and opens each channel with its prefetch
   limits and publisher confirms;
2. it begins to consume what the old one consumes, and only then the old one stops;
3. whoever published or consumed goes on over the new one, without having to do anything;
4. an exclusive queue cannot be shared by two connections: it is deleted on the old one and declared
   anew, so what is sent to it within these milliseconds is lost (remote control, in Celery);
5. the old one stays open until every message that came over it has been answered, so that tasks
   with late acknowledgement are not repeated, and is then closed in order.

Whatever fails up to step 2 leaves the old connection as it was; it is tried again a little later.
All of this happens on the thread that owns the connection, between two reads or before a publish.
"""

# ruff: noqa: SLF001 - Kombu and py-amqp offer no public way to exchange a connection.

from __future__ import annotations

import contextlib
import functools
import logging
import math
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import amqp
from amqp import spec

from mqauth.durations import duration
from mqauth.errors import MQAuthError

if TYPE_CHECKING:
    from celery_mqauth.channel import Channel
    from celery_mqauth.connection import RotatingConnection
    from celery_mqauth.exclusive_queues import ExclusiveQueue

logger = logging.getLogger(__name__)

RETRY_DELAY = 2.0
"""Seconds after which a replacement that failed is tried again."""
CLOSE_LIMIT = 2.0
"""Seconds that a broker gets to answer the end of an old connection, or of its consumers."""

_FAILURES = (amqp.AMQPError, OSError, MQAuthError)
_EVENTS = {
    spec.Basic.Deliver: "_on_basic_deliver",
    spec.Basic.Return: "_on_basic_return",
    spec.Basic.Cancel: "_on_basic_cancel",
    spec.Basic.Ack: "_on_basic_ack",
    spec.Basic.Nack: "_on_basic_nack",
}


class _Handled(threading.local):
    events = 0


handled = _Handled()
"""`events`: how many events this thread has handled on channels that have changed connections."""


def up_to_date(connection: RotatingConnection) -> RotatingConnection:
    """Return the connection to go on with before something is read or fetched.

    Raises:
        CredentialRanOutError: Its credential has run out, and by the setting `rotation` the next
            connection is the one to renew it.
    """
    if connection.superseded:
        connection = renewed(connection)
    elif connection.left_behind:
        if time.time() >= connection.usable_until:
            connection.give_up_expired()
        await_end(connection)
    if connection.predecessors and not connection.busy:
        tend(connection)
    return connection


def renewed(connection: RotatingConnection) -> RotatingConnection:
    """Return what takes the place of a superseded connection; itself if that cannot be now."""
    if connection.busy or connection.inherited or time.monotonic() < connection.replace_at:
        return connection
    if connection.channels is None:  # closed since: nobody would own another
        return connection
    if not _movable(connection):
        if not connection.told_immovable:
            connection.told_immovable = True
            logger.warning(
                "a connection cannot be replaced: it has a transaction, an exclusive consumer, or "
                "an exclusive queue that nobody consumes; it goes on for %s",
                duration(connection.credentials.remaining()),
            )
        return connection
    connection.replace_at = time.monotonic() + RETRY_DELAY
    try:
        new, moved = _prepare(connection)
    except _FAILURES as error:
        logger.warning(
            "a connection could not be replaced; the old one goes on for %s: %s",
            duration(connection.credentials.remaining()),
            error,
        )
        return connection
    _hand_over(connection, new, moved)
    return new


def tend(connection: RotatingConnection) -> None:
    """Read what the broker says on earlier connections, and close those that have done."""
    with _in_use(connection):
        for old in list(connection.predecessors):
            read_on(old)
            if old.connected and _in_demand(old):
                continue
            if old in connection.predecessors:  # no more if a callback has closed `connection`
                connection.predecessors.remove(old)
            if old.connected:
                old.try_in_place(connection.credentials)
            dismiss(old)
        _forget_ended_elders(connection)


@contextlib.contextmanager
def _in_use(connection: RotatingConnection) -> Iterator[None]:
    """Have nothing take a connection's place: earlier ones are read, and a callback may publish."""
    connection.busy += 1
    try:
        yield
    finally:
        connection.busy -= 1


def read_on(old: RotatingConnection, *, patience: float = 0.0) -> None:
    """Read what has arrived on a connection that was replaced.

    Args:
        old: That connection.
        patience: Seconds to wait for the end of its consumers.

    Raises:
        Exception: What a callback raises, or what the broker has against a single channel of which
            no message waits, as on a connection that was not replaced; the end of this one is none.
    """
    deadline = time.monotonic() + patience
    waiting, reason = _waiting(old), "its link broke"
    try:
        _end_consumers(old)
        while old.connected and not old.busy:
            waiting = _waiting(old)  # nothing is left of that once the broker has closed it
            _read_once(old, _rest(deadline) if _consuming(old) else 0)
    except TimeoutError:
        pass
    except _FAILURES as error:
        if old.connected:
            raise
        reason = str(error)
    if old.connected:
        return
    if waiting:
        logger.warning(
            "a replaced connection ended before %d messages were acknowledged, which will be "
            "delivered again: %s",
            waiting,
            reason,
        )
    _forget(old)
    old.collect()


def _read_once(old: RotatingConnection, timeout: float) -> None:
    try:
        old.drain_events(timeout=timeout)
    except amqp.ChannelError as error:
        if not getattr(error, "is_told", False):
            raise


def dismiss(old: RotatingConnection) -> None:
    """Close a connection in order, within a limit."""
    _forget(old)
    with contextlib.suppress(*_FAILURES):
        if old.connected and _can_be_written_to(old):
            with old.transport.having_timeout(CLOSE_LIMIT):
                old.close()
    old.collect()


def _can_be_written_to(old: RotatingConnection) -> bool:
    # Another thread may be stuck on a link that takes nothing. The lock is not kept while the end
    # is awaited: a callback that acknowledges would wait for that thread, and it for the lock.
    if not old.frame_lock.acquire(timeout=CLOSE_LIMIT):
        return False
    old.frame_lock.release()
    return True


def consumer_gone(connection: RotatingConnection, queue: str) -> None:
    """Forget an exclusive queue that the broker deletes with its last consumer.

    Celery's workers have one such on the connection that consumes, from when they said hello to
    each other; taken for alive, it would keep that connection from ever being replaced.
    """
    known = connection.exclusive_queues.get(queue)
    if known is None or not known.options.get("auto_delete"):
        return
    if not any(queue in _consumed(channel) for channel in _channels(connection)):
        del connection.exclusive_queues[queue]


def await_end(connection: RotatingConnection) -> None:
    """Have the event loop look at a connection that is left alone when its credential runs out."""
    hub = connection.hub
    if hub is None or connection.end_awaited or math.isinf(connection.usable_until):
        return
    connection.end_awaited = True
    hub.call_later(max(0.0, connection.usable_until - time.time()), _at_end, connection, hub)


def _at_end(connection: RotatingConnection, hub: Any) -> None:
    # A worker that is told to end has its timers run by another thread, while its tasks may still
    # acknowledge. And what has been closed is nothing to end another connection for.
    if threading.get_ident() != connection.hub_thread or not connection.connected:
        return
    connection.end_awaited = False  # the clocks differ after a suspension: it may be too early
    if connection.hub is hub:
        connection.client.transport.on_readable(connection, hub)


def close_quietly(channel: Channel) -> None:
    """Close what stands for a channel on an earlier connection."""
    with contextlib.suppress(*_FAILURES):
        channel.close()


def _prepare(old: RotatingConnection) -> tuple[RotatingConnection, list[tuple[Channel, Channel]]]:
    """Open a connection, have it consume what the old one does, and move the channels there.

    Returns:
        The new connection, and each channel with what stands for it on the old one.
    """
    reopen = old.reopen
    if reopen is None:
        raise amqp.RecoverableConnectionError("this connection does not know how to sign in again")
    new = reopen()
    moved: list[tuple[Channel, Channel]] = []
    try:
        moved.extend((channel, _opened(channel, new)) for channel in _channels(old))
        for channel, other in moved:
            _exchange(channel, other)
        for channel, _ in moved:
            for subscription in list(channel.subscriptions.values()):
                if subscription["queue"] not in old.exclusive_queues:
                    channel.basic_consume(**{**subscription, "nowait": False})
    except BaseException:
        for channel, other in moved:
            if channel.connection is not old:
                _exchange_back(channel, other)
        dismiss(new)
        raise
    return new, moved


def _hand_over(
    old: RotatingConnection, new: RotatingConnection, moved: list[tuple[Channel, Channel]]
) -> None:
    """Put the new connection into the place of the old one, which has messages to the end."""
    exclusive = dict(old.exclusive_queues)  # some go when the old connection stops consuming
    _take_the_place(old, new)
    logger.info("a connection was replaced by one with the new credential")
    # Callbacks are called meanwhile: whatever one raises, each step is taken.
    with _in_use(new), contextlib.ExitStack() as steps:
        for queue in reversed(exclusive.values()):
            steps.callback(_move_exclusive_queue, queue, moved)
        steps.callback(read_on, old, patience=CLOSE_LIMIT)
    tend(new)


def _opened(channel: Channel, new: RotatingConnection) -> Channel:
    other: Channel = new.channel(channel.channel_id)
    for limits in channel.prefetch.values():
        other.basic_qos(*limits)
    if channel._confirm_selected or channel.channel_id in channel.connection.confirms:
        other.confirm_select()
        other._confirm_selected = True
    return other


def _exchange(channel: Channel, other: Channel) -> None:
    """Put `channel` into the place of `other`, which from then on stands for it on the old one."""
    with channel.moving:
        number = channel.channel_id
        channel.connection, other.connection = other.connection, channel.connection
        channel.connection.channels[number] = channel
        other.connection.channels[number] = other
        other.generation, channel.generation = channel.generation, channel.next_generation
        # Even if this fails: an answer to what came over it meanwhile must not meet another.
        channel.next_generation += 1
        other.unacknowledged, channel.unacknowledged = channel.unacknowledged, set()
        other.ending_without_ack, channel.ending_without_ack = channel.ending_without_ack, set()
        other.callbacks = dict(channel.callbacks)
        other.cancel_callbacks = dict(channel.cancel_callbacks)
        _add_handlers(channel, other)
        _copy_no_ack(channel, other)
        other.subscriptions = dict(channel.subscriptions)
        other.front = channel
        other._callbacks[spec.Channel.Close] = functools.partial(_closed_by_broker, other)
        channel.elders[other.generation] = other
        _count_events(channel)
        _count_events(other)


def _exchange_back(channel: Channel, other: Channel) -> None:
    with channel.moving:
        number = channel.channel_id or other.channel_id
        if other.connection is None or other.connection.channels is None:
            return
        channel.connection, other.connection = other.connection, channel.connection
        channel.connection.channels[number] = channel
        channel.channel_id, channel.is_open = number, True
        channel.elders.pop(other.generation, None)
        channel.generation, channel.unacknowledged = other.generation, other.unacknowledged
        channel.ending_without_ack = other.ending_without_ack
        channel.callbacks = dict(other.callbacks)
        channel.cancel_callbacks = dict(other.cancel_callbacks)
        _add_handlers(other, channel)
        channel.subscriptions = dict(other.subscriptions)
        _copy_no_ack(other, channel)
        other.unacknowledged = set()
        if other.connection is not None and other.connection.channels is not None:
            other.connection.channels[number] = other


def _copy_no_ack(source: Any, target: Any) -> None:
    # Typed as Any: py-amqp declares the attribute as None.
    target.no_ack_consumers = set(source.no_ack_consumers)


def _add_handlers(source: Any, target: Any) -> None:
    # Not the same ones for both: each channel clears its own when it is closed.
    for event, handlers in source.events.items():
        target.events[event] |= handlers


def _count_events(channel: Channel) -> None:
    for signature, name in _EVENTS.items():
        channel._callbacks[signature] = functools.partial(_handle, channel, name)


def _handle(channel: Channel, name: str, *args: Any) -> Any:
    handled.events += 1
    return getattr(channel, name)(*args)


def _closed_by_broker(channel: Channel, *reason: Any) -> None:
    """Tell of an earlier channel's end where all that is lost comes again.

    So ends one with a task that takes longer than the broker waits for an acknowledgement. Celery
    takes such an error for a reason to stop, while the consumers have long gone elsewhere.
    """
    waiting = len(channel.unacknowledged)
    if channel.front is not None:  # what is acknowledged yet would end it again: nothing waits
        channel.front.elders.pop(channel.generation, None)
    try:
        channel._on_close(*reason)
    except amqp.ChannelError as error:
        if waiting:
            error.is_told = True
            logger.warning(
                "the broker closed a channel of a replaced connection before %d messages were "
                "acknowledged, which will be delivered again: %s",
                waiting,
                error,
            )
        raise


def _take_the_place(old: RotatingConnection, new: RotatingConnection) -> None:
    # First of all, as what closes the new one closes these.
    new.predecessors, old.predecessors = [*old.predecessors, old], []
    old.superseded, old.retired = False, True
    old.source.detach(old)
    client: Any = new.client
    if client is not None and client._connection is old:
        client._connection = new
    hub = old.hub
    if hub is not None and client is not None:
        client.transport.register_with_event_loop(new, hub)


def _end_consumers(old: RotatingConnection) -> None:
    """Have the broker end all consumers; each counts as one until the broker's answer is read.

    Nothing is read meanwhile, so that no callback comes between.
    """
    if old.consumers_ended:
        return
    for channel in _channels(old):
        # The broker tells the new connection as well, and one word is enough.
        channel.cancel_callbacks = dict.fromkeys(channel.subscriptions, _told_elsewhere)
        for tag in list(channel.subscriptions):
            channel.send_method(spec.Basic.Cancel, "sb", (tag, False))
    old.consumers_ended = True


def _told_elsewhere(consumer_tag: str) -> None:
    logger.debug("the consumer %s of a replaced connection was cancelled", consumer_tag)


def _move_exclusive_queue(queue: ExclusiveQueue, moved: list[tuple[Channel, Channel]]) -> None:
    for channel, other in moved:
        subscriptions = [s for s in channel.subscriptions.values() if s["queue"] == queue.name]
        if not subscriptions:
            continue
        with contextlib.suppress(*_FAILURES):
            queue.delete(other)
        try:
            queue.declare(channel)
            for subscription in subscriptions:
                channel.basic_consume(**{**subscription, "nowait": False})
        except _FAILURES as error:
            logger.warning(
                "the exclusive queue %s could not be declared anew: %s", queue.name, error
            )


def _movable(connection: RotatingConnection) -> bool:
    channels = _channels(connection)
    consumed = set().union(*map(_consumed, channels))
    # Messages of an exclusive queue that nobody consumes would be lost.
    if not connection.exclusive_queues.keys() <= consumed:
        return False
    return not any(channel.in_transaction or _consumes_alone(channel) for channel in channels)


def _consumes_alone(channel: Channel) -> bool:
    # The broker lets no other consume what such a one does. Were it cancelled first, whoever waits
    # for the place would have it.
    return any(subscription.get("exclusive") for subscription in channel.subscriptions.values())


def _consumed(channel: Channel) -> set[str]:
    return {subscription["queue"] for subscription in channel.subscriptions.values()}


def _forget(old: RotatingConnection) -> None:
    for channel in _channels(old):
        front: Channel | None = channel.front
        if front is not None:
            front.elders.pop(channel.generation, None)
    # Also where the link is broken: an event loop would find it readable for ever.
    if old.hub is not None and old._transport is not None and old._transport.sock is not None:
        old.hub.remove(old._transport.sock)
    old.hub = None


def _forget_ended_elders(connection: RotatingConnection) -> None:
    # A connection that the broker closes has let go of its channels before anyone can ask.
    for channel in _channels(connection):
        for generation, elder in list(channel.elders.items()):
            if elder.connection is None:
                channel.elders.pop(generation, None)


def _waiting(old: RotatingConnection) -> int:
    return sum(len(channel.unacknowledged) for channel in _channels(old))


def _consuming(old: RotatingConnection) -> bool:
    return any(channel.subscriptions for channel in _channels(old))


def _in_demand(old: RotatingConnection) -> bool:
    return bool(_waiting(old)) or _consuming(old)


def _rest(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _channels(connection: RotatingConnection) -> list[Channel]:
    # One that was struck while it waited for its end has let go of the connection, but not the
    # connection of it.
    channels = list((connection.channels or {}).items())
    return [each for number, each in channels if number and each.connection is connection]
