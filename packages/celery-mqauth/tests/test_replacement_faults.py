"""What goes wrong while a connection is replaced stops no consumer, and is told."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import kombu
import pytest
from kombu.asynchronous import Hub

from celery_mqauth import replacement

Connect = Callable[..., kombu.Connection]
Publish = Callable[[str, str], None]
LIMIT = 20.0


class PoisonError(Exception):
    """What a consumer's callback raises."""


class PoisonedLinkError(ConnectionRefusedError):
    """The same, as where a database is down."""


@pytest.fixture
def replacing(connect: Connect) -> Connect:
    """Return `connect` for connections that are replaced when another credential comes."""

    def make(**settings: Any) -> kombu.Connection:
        return connect(auth={"rotation": "replace"}, **settings)

    return make


@pytest.fixture
def hub() -> Iterator[Hub]:
    """An event loop."""
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def publish(admin: kombu.Connection) -> Publish:
    """Return a function that publishes a body to a queue."""

    def send(queue: str, body: str) -> None:
        admin.default_channel.basic_publish(amqp.Message(body), "", queue)

    return send


def read(connection: kombu.Connection, seconds: float = 0.05) -> None:
    """Read what comes within so long."""
    with contextlib.suppress(TimeoutError):
        connection.drain_events(timeout=seconds)


def read_until(connection: kombu.Connection, condition: Callable[[], object]) -> None:
    """Read until `condition` holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        read(connection)


def await_arrival(raw: Any) -> None:
    """Wait until something lies unread on a raw connection."""
    end = time.monotonic() + LIMIT
    while raw.transport.nothing_to_read():
        assert time.monotonic() < end
        time.sleep(0.01)


def replaced(connection: kombu.Connection) -> Any:
    """Have the connection replaced as if another credential had come; return the old one."""
    old = connection.connection
    old.superseded = True
    read_until(connection, lambda: connection.connection is not old)
    return old


@pytest.mark.parametrize("error", [PoisonError, PoisonedLinkError])
def test_a_callback_that_raises_leaves_no_consumer_behind(
    replacing: Connect,
    queue: str,
    new_queue: Callable[[], str],
    publish: Publish,
    error: type[Exception],
) -> None:
    """Its error comes out as ever, and all messages come over the new connection."""
    connection, second = replacing(), new_queue()
    got: list[Any] = []
    channel = connection.channel()

    def handle(message: Any) -> None:
        channel.basic_ack(message.delivery_tag)
        if message.body == "poison":
            raise error
        got.append(message.body)

    for each in (queue, second):
        channel.basic_consume(each, callback=handle)
    old = connection.connection
    publish(queue, "poison")
    await_arrival(old)
    old.superseded = True
    with pytest.raises(error):
        read(connection)
    assert connection.connection is not old
    read_until(connection, lambda: not connection.connection.predecessors)
    assert not old.connected
    for number in range(10):
        publish(second, str(number))
    read_until(connection, lambda: len(got) == 10)


@pytest.mark.parametrize("step", ["asking", "waiting"])
def test_consumers_end_though_a_strike_came_between(
    replacing: Connect, queue: str, publish: Publish, step: str
) -> None:
    """What a time limit keeps from being asked of the broker, or read, is so at the next read."""
    connection = replacing()
    got: list[Any] = []
    channel = connection.channel()
    channel.basic_consume(queue, no_ack=True, callback=got.append)
    old = connection.connection
    place, name = (old, "_frame_writer") if step == "asking" else (old.transport, "read_frame")
    usual = getattr(place, name)

    def strike(*_: Any) -> None:
        setattr(place, name, usual)
        raise PoisonError

    setattr(place, name, strike)
    old.superseded = True
    with pytest.raises(PoisonError):
        read(connection)
    assert connection.connection is not old
    read_until(connection, lambda: not connection.connection.predecessors)
    assert not old.connected
    for number in range(10):
        publish(queue, str(number))
    read_until(connection, lambda: len(got) == 10)


def test_a_callback_may_close_the_connection(
    *,
    replacing: Connect,
    queue: str,
    publish: Publish,
    depth: Callable[[str], int],
    eventually: Callable[..., None],
) -> None:
    """Nothing of it is left, the message included."""
    connection = replacing()
    channel = connection.channel()
    channel.basic_consume(queue, callback=lambda _: connection.release())
    old = connection.connection
    publish(queue, "task")
    await_arrival(old)
    old.superseded = True
    with contextlib.suppress(amqp.AMQPError, OSError):
        connection.drain_events(timeout=1)
    assert not old.connected
    eventually(lambda: depth(queue) == 1)


def test_a_callback_may_close_the_connection_later(
    replacing: Connect, queue: str, publish: Publish
) -> None:
    """An event on the earlier one that ends both is no error."""
    connection = replacing()
    got: list[Any] = []
    channel = connection.channel()
    channel.basic_consume(queue, callback=got.append)
    publish(queue, "task")
    read_until(connection, lambda: got)
    old = replaced(connection)
    new = connection.connection
    (elder,) = channel.elders.values()
    elder.events["basic_return"].add(lambda *_: connection.release())
    elder.basic_publish(amqp.Message("x"), "", "nobody", mandatory=True)
    await_arrival(old)
    replacement.tend(new)
    assert not new.connected
    assert not old.connected


def test_an_error_of_one_channel_ends_no_other(
    replacing: Connect, queue: str, publish: Publish
) -> None:
    """It is told, and what came over the other channels can be acknowledged."""
    connection = replacing()
    poller, sender = connection.channel(), connection.channel()
    publish(queue, "task")
    message = None
    while message is None:
        message = poller.basic_get(queue)
    sender.basic_publish(amqp.Message("x"), exchange="no-such-exchange")
    old = connection.connection
    await_arrival(old)
    old.superseded = True
    with pytest.raises(amqp.NotFound):
        read(connection)
    assert connection.connection is not old
    assert old.connected
    poller.basic_ack(message.delivery_tag)
    read_until(connection, lambda: not connection.connection.predecessors)
    assert poller.basic_get(queue) is None
    sender.basic_publish(amqp.Message("x"), routing_key=queue)
    read_until(connection, lambda: poller.basic_get(queue))


def test_a_channel_whose_messages_come_again_stops_nobody(
    replacing: Connect,
    new_queue: Callable[[], str],
    publish: Publish,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As where a task takes longer than the broker waits; the other channels are not concerned."""
    connection = replacing()
    got: dict[str, list[Any]] = {}
    for name in (new_queue(), new_queue()):
        got[name] = []
        connection.channel().basic_consume(name, callback=got[name].append)
        publish(name, "task")
    first, second = got
    read_until(connection, lambda: all(got.values()))
    old = replaced(connection)
    # A number that was never delivered: the broker answers with the end of the channel.
    elder = got[first][0].channel.elders[0]
    elder.send_method((60, 80), "Lb", (99, False))
    read_until(connection, lambda: len(got[first]) == 2)
    read_until(connection, lambda: "closed a channel" in caplog.text)
    assert old.connected
    late = got[first][0]
    with pytest.raises(amqp.RecoverableConnectionError, match="is closed"):
        late.channel.basic_ack(late.delivery_tag)
    message = got[second][0]
    message.channel.basic_ack(message.delivery_tag)
    read_until(connection, lambda: not connection.connection.predecessors)
    assert len(got[second]) == 1


def test_a_returned_message_meets_its_handler(
    replacing: Connect, queue: str, publish: Publish
) -> None:
    """What was published before the replacement is told to who published it."""
    connection = replacing()
    got: list[Any] = []
    returned: list[Any] = []
    connection.channel().basic_consume(queue, callback=got.append)
    publish(queue, "task")
    read_until(connection, lambda: got)
    producer = connection.Producer(on_return=lambda error, *_: returned.append(error.reply_text))
    producer.publish("x", routing_key="nobody", mandatory=True)
    await_arrival(connection.connection)
    old = replaced(connection)
    read_until(connection, lambda: returned)
    assert returned == ["NO_ROUTE"]
    assert old.connected
    read(connection, 0.3)
    assert len(got) == 1


def test_a_queue_that_is_deleted_meanwhile_is_told_of_once(
    *,
    replacing: Connect,
    new_queue: Callable[[], str],
    admin: kombu.Connection,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker tells both connections; the other consumers go over to the new one."""
    connection = replacing()
    ended: list[Any] = []
    got: list[Any] = []
    queue, other = new_queue(), new_queue()
    channel = connection.channel()
    channel.basic_consume(queue, callback=print, on_cancel=ended.append, consumer_tag="one")
    channel.basic_consume(other, callback=got.append, no_ack=True)
    usual = replacement._take_the_place

    def delete_then(*connections: Any) -> None:
        usual(*connections)
        admin.default_channel.queue_delete(queue)
        for each in connections:
            await_arrival(each)

    monkeypatch.setattr(replacement, "_take_the_place", delete_then)
    old = replaced(connection)
    read_until(connection, lambda: not connection.connection.predecessors)
    assert not old.connected
    for number in range(10):
        publish(other, str(number))
    read_until(connection, lambda: len(got) == 10 and ended)
    assert ended == ["one"]


def test_an_exclusive_queue_comes_along_though_a_callback_raises(
    replacing: Connect, queue: str, publish: Publish
) -> None:
    """The steps that are left are taken before its error comes out."""
    connection = replacing()
    got: list[Any] = []
    channel = connection.channel()

    def poisoned(message: Any) -> None:
        channel.basic_ack(message.delivery_tag)
        raise PoisonError

    channel.basic_consume(queue, callback=poisoned)
    own = channel.queue_declare(f"own-{queue}", exclusive=True).queue
    channel.basic_consume(own, callback=got.append, no_ack=True)
    old = connection.connection
    publish(queue, "poison")
    await_arrival(old)
    old.superseded = True
    with pytest.raises(PoisonError):
        read(connection)
    publish(own, "x")
    read_until(connection, lambda: got)
    assert got[0].channel is channel


def test_reading_ends_when_something_came_during_the_replacement(
    replacing: Connect, queue: str
) -> None:
    """What the caller waits for has been handed over: nothing more might come."""
    connection = replacing()
    with connection.SimpleQueue(f"simple-{queue}", queue_opts={"expires": 120.0}) as simple:
        simple.put("first")
        simple.get(timeout=LIMIT).ack()
        old = connection.connection
        simple.put("second")
        await_arrival(old)
        old.superseded = True
        assert simple.get(timeout=3).payload == "second"
        assert connection.connection is not old


def test_handlers_stay_where_a_replacement_fails(
    replacing: Connect, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker closes the new connection; the old one goes on with all that it had."""
    connection = replacing()
    told: list[Any] = []
    channel = connection.channel()
    producer = kombu.Producer(channel, on_return=lambda error, *_: told.append(error.reply_text))
    channel.basic_consume(queue, callback=print, on_cancel=told.append, consumer_tag="one")
    old = connection.connection

    def end_it(self: Any, *_: Any, **__: Any) -> None:
        self.connection._on_close(320, "CONNECTION_FORCED - shutdown", 0, 0)

    with monkeypatch.context() as patch:
        patch.setattr(type(channel), "basic_consume", end_it)
        old.superseded = True
        read(connection)
    old.superseded = False
    assert connection.connection is old
    producer.publish("x", routing_key="nobody", mandatory=True)
    read_until(connection, lambda: told)
    channel.queue_delete(queue)
    read_until(connection, lambda: len(told) == 2)
    assert told == ["NO_ROUTE", "one"]


def test_a_closed_connection_is_not_replaced(replacing: Connect, hub: Hub) -> None:
    """An event loop that was to look at it signs in for nobody."""
    connection = replacing()
    connection.register_with_event_loop(hub)
    old, transport = connection.connection, connection.transport
    old.superseded = True
    connection.release()
    with pytest.raises(amqp.RecoverableConnectionError):
        transport.on_readable(old, hub)
    assert old.source.status().connections == 0


def test_what_a_closed_connection_owes_is_told_and_forgotten(
    replacing: Connect, queue: str, publish: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker closes a replaced connection before its message was acknowledged."""
    connection = replacing()
    got: list[Any] = []
    channel = connection.channel()
    channel.basic_consume(queue, callback=got.append)
    publish(queue, "task")
    read_until(connection, lambda: got)
    old = replaced(connection)
    assert channel.elders
    # A channel that is not open: the broker answers with the end of the connection.
    old.frame_writer(1, 99, (60, 20), b"\0\0\0\0\0", None)
    read_until(connection, lambda: len(got) == 2 and not connection.connection.predecessors)
    assert "before 1 messages were acknowledged" in caplog.text
    assert not channel.elders


def test_an_event_loop_leaves_a_broken_connection(
    replacing: Connect, queue: str, publish: Publish, hub: Hub
) -> None:
    """One that a failed acknowledgement has found broken would be readable for ever."""
    connection = replacing()
    got: list[Any] = []
    connection.register_with_event_loop(hub)
    channel = connection.channel()
    channel.basic_consume(queue, callback=got.append)
    publish(queue, "task")
    read_until(connection, lambda: got)
    old = replaced(connection)
    descriptor = old.sock.fileno()
    assert descriptor in hub.readers
    old.transport.break_off()
    connection.transport.on_readable(old, hub)
    assert descriptor not in hub.readers


def test_a_cancelled_consumer_s_last_delivery_keeps_no_connection(
    replacing: Connect, queue: str, publish: Publish
) -> None:
    """Nobody acknowledges it, wherever the channel is by then."""
    connection = replacing()
    got: list[Any] = []
    channel = connection.channel()
    tag = channel.basic_consume(queue, no_ack=True, callback=got.append)
    publish(queue, "last")
    await_arrival(connection.connection)
    channel.basic_cancel(tag, nowait=True)
    old = replaced(connection)
    read_until(connection, lambda: not old.connected)
    assert [message.body for message in got] == ["last"]


def test_a_channel_that_was_told_to_confirm_goes_on_confirming(
    replacing: Connect, queue: str
) -> None:
    """Also if its user has told it so, and not the first message that is to be confirmed."""
    connection = replacing()
    channel = connection.channel()
    channel.confirm_select()
    channel.basic_publish_confirm(amqp.Message("first"), "", queue)
    connection.connection.superseded = True
    channel.basic_publish_confirm(amqp.Message("second"), "", queue)
    assert channel.queue_declare(queue, passive=True).message_count == 2


def test_a_channel_whose_end_was_broken_off_stops_no_replacement(
    replacing: Connect, queue: str, publish: Publish
) -> None:
    """py-amqp has taken its connection away, and it is still on the connection's list."""
    connection = replacing()
    got: list[Any] = []
    ending, other = connection.channel(), connection.channel()
    other.basic_consume(queue, no_ack=True, callback=got.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection.connection, "drain_events", strike)
        with pytest.raises(PoisonError):
            ending.close()
    old = replaced(connection)
    publish(queue, "later")
    read_until(connection, lambda: got)
    read_until(connection, lambda: not old.connected)


def strike(*_: Any, **__: Any) -> None:
    """Break a wait off."""
    raise PoisonError
