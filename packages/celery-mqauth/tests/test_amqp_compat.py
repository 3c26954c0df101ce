"""What the transport takes over from py-amqp and Kombu still behaves as theirs does."""

from __future__ import annotations

import inspect
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import kombu
import pytest
from kombu.asynchronous import Hub, set_event_loop
from kombu.transport import pyamqp

from celery_mqauth.channel import Channel
from celery_mqauth.connection import RotatingConnection
from celery_mqauth.transport import Transport
from mqauth.credentials import BrokerCredentials
from mqauth_sandbox import Broker

Connect = Callable[..., kombu.Connection]
Mint = Callable[..., BrokerCredentials]
both_links = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def test_every_way_to_publish_is_guarded() -> None:
    """py-amqp publishes by one function under two names; the guard stands before both."""
    assert amqp.Channel.basic_publish is amqp.Channel._basic_publish
    assert Channel.basic_publish is Channel._basic_publish
    assert Channel.basic_publish is not pyamqp.Channel.basic_publish
    assert "self._basic_publish(" in inspect.getsource(amqp.Channel.basic_publish_confirm)


def test_py_amqp_learns_nothing_behind_its_back() -> None:
    """The new methods are known to our connections only; others' are as they were."""
    assert (10, 71) in RotatingConnection._METHODS
    assert (10, 71) not in amqp.Connection._METHODS
    assert RotatingConnection._METHODS.keys() - amqp.Connection._METHODS.keys() == {(10, 71)}


def test_errors_and_features_are_those_of_pyamqp() -> None:
    """Kombu and Celery choose what to retry, and how to wait, as with pyamqp."""
    for name in (
        "connection_errors",
        "channel_errors",
        "recoverable_connection_errors",
        "recoverable_channel_errors",
        "implements",
        "driver_type",
        "driver_name",
    ):
        assert getattr(Transport, name) == getattr(pyamqp.Transport, name)


@both_links
def test_waits_end_when_they_should(*, connect: Connect, mint: Mint, tls: bool) -> None:
    """A time limit of zero returns at once, another after its time, renewals or not."""
    raw = connect(tls=tls).connection
    for limit in (0, 0.2):
        assert raw.credentials_renewed(mint())
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            raw.drain_events(timeout=limit)
        assert limit <= time.monotonic() - began < limit + 5


@both_links
def test_a_wait_within_a_wait_ends_both(
    *, connect: Connect, mint: Mint, queue: str, tls: bool
) -> None:
    """A callback that waits itself and reads the answer to a renewal prolongs no wait."""
    raw = connect(tls=tls).connection
    channel, other = raw.channel(), raw.channel()
    seen: list[int] = []

    def callback(message: Any) -> None:
        assert raw.credentials_renewed(mint())
        seen.append(other.queue_declare(queue, passive=True).consumer_count)

    channel.basic_consume(queue, no_ack=True, callback=callback)
    other.basic_publish_confirm(amqp.Message("x"), routing_key=queue)
    if not seen:  # or it came with the confirmation
        raw.drain_events(timeout=20)
    assert seen == [1]


@both_links
def test_time_limits_nest_and_end(*, connect: Connect, tls: bool) -> None:
    """The limit of one operation does not outlive it."""
    transport: Any = connect(tls=tls).connection.transport
    limits = [transport.limit]
    with transport.having_timeout(3):
        with transport.having_timeout(None):
            limits.append(transport.limit)
        with transport.having_timeout(0.5):
            limits.append(transport.limit)
        limits.append(transport.limit)
    assert [*limits, transport.limit] == [None, 3, 0.5, 3, None]


@pytest.mark.parametrize(
    "use",
    [
        lambda channel: channel.queue_declare("queue"),
        lambda channel: channel.queue_bind("queue", "amq.topic"),
        lambda channel: channel.queue_delete("queue"),
        lambda channel: channel.basic_publish_confirm(amqp.Message("x"), "", "queue"),
        lambda channel: channel.basic_consume("queue"),
    ],
    ids=["declare", "bind", "delete", "publish", "consume"],
)
def test_a_channel_whose_connection_is_closed(
    connect: Connect, use: Callable[[Any], object]
) -> None:
    """Whatever is done there raises what Kombu connects anew on."""
    connection = connect()
    channel = connection.channel()
    connection.connection.collect()
    with pytest.raises(amqp.RecoverableConnectionError):
        use(channel)


@both_links
def test_heartbeats_are_kept_up(*, connect: Connect, mint: Mint, tls: bool) -> None:
    """Heartbeats are negotiated, sent and counted; a renewal counts as traffic."""
    connection = connect(tls=tls, heartbeat=30)
    raw = connection.connection
    assert connection.get_heartbeat_interval() == raw.heartbeat == 30
    sent = raw.bytes_sent
    assert raw.credentials_renewed(mint())
    assert raw.bytes_sent == sent + 1
    raw.send_heartbeat()
    assert raw.bytes_sent == sent + 2
    connection.heartbeat_check()
    raw.channel().close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Kombu's event loop, in which Celery's worker reads."""
    loop = Hub()
    set_event_loop(loop)
    loop.call_repeatedly(0.02, int)  # without any timer it looks at its ready list once a second
    yield loop
    set_event_loop(None)
    loop.close()


@both_links
def test_the_event_loop_misses_nothing(
    *, connect: Connect, mint: Mint, admin: kombu.Connection, queue: str, hub: Hub, tls: bool
) -> None:
    """Read by Kombu's hub, every message arrives, however many come in one piece of TLS."""
    connection = connect(tls=tls)
    raw = connection.connection
    received: list[int] = []
    channel = raw.channel()
    channel.basic_consume(queue, no_ack=True, callback=lambda m: received.append(len(m.body)))
    connection.register_with_event_loop(hub)
    sizes = [1, 5000, 100, 40000, 3, 200_000] * 20
    producer = admin.Producer(auto_declare=False)
    end = time.monotonic() + 60
    for number, size in enumerate(sizes):
        producer.publish(b"x" * size, routing_key=queue)
        if number % 10 == 0:
            assert raw.credentials_renewed(mint())
        next(hub.loop)
    while len(received) < len(sizes) and time.monotonic() < end:
        next(hub.loop)
    hub.remove(raw.sock)
    assert received == sizes
    assert raw.connected


@both_links
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_hosts_may_be_addresses(*, connect: Connect, broker: Broker, host: str, tls: bool) -> None:
    """Addresses of both families connect, and TLS verifies them against the certificate."""
    raw = connect(host=host, tls=tls).connection
    family = socket.AF_INET6 if "::" in host else socket.AF_INET
    assert host == "localhost" or raw.sock.family == family
    assert raw.server_properties["version"] == broker.version


def test_connections_share_what_py_amqp_calls_defaults(connect: Connect) -> None:
    """A port and a virtual host may be left out, as with pyamqp."""
    connection = connect()
    assert connection.connection.virtual_host == "/"
    assert kombu.Connection("mqauths://oauth2@h").transport.default_ssl_port == 5671
    assert connection.transport.driver_version() == amqp.__version__


def test_channels_are_kombus(connect: Connect, queue: str) -> None:
    """Priorities, headers and expiration reach the broker and come back."""
    connection = connect()
    connection.Producer(auto_declare=False).publish(
        {"a": 1},
        routing_key=queue,
        headers={"h": "v"},
        priority=3,
        expiration=60,
        compression="zlib",
    )
    message: Any = None
    end = time.monotonic() + 20
    while message is None and time.monotonic() < end:
        message = kombu.Queue(queue)(connection.default_channel).get(no_ack=True)
    assert message.payload == {"a": 1}
    assert message.headers["h"] == "v"
    assert message.properties["priority"] == 3
    assert message.properties["expiration"] == "60000"
