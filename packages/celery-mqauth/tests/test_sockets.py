"""Two threads on one socket: the owner's messages and the renewals never get into each other."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import kombu
import pytest

from celery_mqauth.connection import RotatingConnection
from celery_mqauth.sockets import wait_until_ready
from mqauth.credentials import BrokerCredentials
from mqauth.shared import shared_sources
from mqauth_sandbox import OidcIssuer, Sandbox, TcpProxy

MEGABYTE = 1024 * 1024
FRAME = 131072
SIZES = (MEGABYTE, FRAME - 8, FRAME - 7, 200, 3 * FRAME, 1)
"""Bytes of bodies: many frames, around the bounds of one frame, and what fits beside others."""

MESSAGES, LOOKS = 60, 100
"""How many messages come, and how often the owner looks for each."""

PATIENT = {"socket_settings": {socket.TCP_USER_TIMEOUT: 60_000}}
"""Keeps the kernel from giving up a stalled link after the second that py-amqp allows it."""

both_links = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
Connect = Callable[..., kombu.Connection]
Mint = Callable[..., BrokerCredentials]


@pytest.fixture
def proxied(*, sandbox: Sandbox, tls: bool) -> Iterator[TcpProxy]:
    """A proxy to the port of the kind of link that the test uses."""
    broker = sandbox.broker
    with TcpProxy(broker.amqps_port if tls else broker.amqp_port) as proxy:
        yield proxy


@contextmanager
def running(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run `work` in a thread beside the block and raise here what it raised there."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            raised.append(error)

    thread = threading.Thread(target=guarded, name="beside", daemon=True)
    thread.start()
    yield thread
    thread.join(30)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


def renew_constantly(
    raw: Any,
    tokens: list[BrokerCredentials],
    *,
    sent: list[BrokerCredentials],
    stop: threading.Event,
    pause: float,
) -> None:
    """Send one token after the other, `pause` seconds apart, and note in `sent` what went out."""
    while not stop.wait(pause):
        credentials = tokens[len(sent) % len(tokens)]
        if raw.credentials_renewed(credentials):
            sent.append(credentials)


@both_links
def test_large_messages_arrive_intact_among_renewals(
    *, connect: Connect, queue: str, mint: Mint, tls: bool
) -> None:
    """Messages of one and of many frames, written and read back, are those that were sent."""
    raw = connect(tls=tls, options=PATIENT).connection
    # Frames leave in many pieces, as on a busy network, with room for renewals in between.
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    tokens = [mint() for _ in range(60)]
    stop = threading.Event()
    sent: list[BrokerCredentials] = []
    with running(lambda: renew_constantly(raw, tokens, sent=sent, stop=stop, pause=0.003)):
        try:
            channel = raw.channel()
            rounds = itertools.count()
            while next(rounds) < 4 or len(sent) < 20:
                bodies = [os.urandom(size) for size in SIZES]
                for body in bodies:
                    channel.basic_publish(amqp.Message(body), routing_key=queue)
                # The last is confirmed, so the others have arrived when they are asked for.
                channel.basic_publish_confirm(amqp.Message(b"end"), routing_key=queue)
                for body in (*bodies, b"end"):
                    received = channel.basic_get(queue, no_ack=True)
                    assert received is not None
                    assert received.body == body
        finally:
            stop.set()
    assert raw.connected


@both_links
def test_an_owner_that_reads_all_the_time_is_not_disturbed(
    *, connect: Connect, queue: str, mint: Mint, admin: kombu.Connection, tls: bool
) -> None:
    """Reads and renewals that happen in the same instant harm neither each other nor a message."""
    raw = connect(tls=tls, options=PATIENT).connection
    tokens = [mint() for _ in range(60)]
    stop = threading.Event()
    received: list[int] = []
    sent: list[BrokerCredentials] = []
    channel = raw.channel()
    channel.basic_consume(queue, no_ack=True, callback=lambda m: received.append(int(m.body)))
    producer = admin.Producer(auto_declare=False)
    with running(lambda: renew_constantly(raw, tokens, sent=sent, stop=stop, pause=0)):
        try:
            for number in range(MESSAGES):
                producer.publish(str(number), routing_key=queue)
                for _ in range(LOOKS):
                    with contextlib.suppress(TimeoutError):
                        raw.drain_events(timeout=0)
            while len(received) < MESSAGES or len(sent) < 20:
                with contextlib.suppress(TimeoutError):
                    raw.drain_events(timeout=0.1)
        finally:
            stop.set()
    assert received == list(range(MESSAGES))


def publish_much(channel: Any, queue: str) -> None:
    """Publish more than all buffers on the way to the broker take."""
    for _ in range(64):
        channel.basic_publish(amqp.Message(b"x" * MEGABYTE), routing_key=queue)


class StalledPublisher:
    """An owner whose link has stopped flowing while it writes.

    Args:
        raw: Its connection.
        queue: Where it publishes to.
    """

    def __init__(self, raw: RotatingConnection, queue: str) -> None:
        self.raw = raw
        self.written = 0
        self._channel = raw.channel()
        self._queue = queue
        self._progress = -1

    def publish(self) -> None:
        """Publish more than the buffers on the way take."""
        for _ in range(24):
            self._channel.basic_publish(amqp.Message(b"x" * MEGABYTE), routing_key=self._queue)
            self.written += 1

    def is_stuck(self) -> bool:
        """Return whether it has not got on for a moment, and the link takes nothing any more."""
        self._progress = self.written
        time.sleep(0.3)
        return (
            self.raw.writing
            and self.written == self._progress
            and not wait_until_ready(self.raw.sock, writable=True, timeout=0)
        )


@both_links
def test_a_busy_owner_sends_the_renewal_that_it_kept_out(
    *,
    connect: Connect,
    queue: str,
    issuer: OidcIssuer,
    proxied: TcpProxy,
    eventually: Callable[..., None],
    tls: bool,
) -> None:
    """Where the owner never lets go of the link for long, its next frame brings the renewal."""
    issuer.token_lifetime = 15
    raw = connect(tls=tls, port=proxied.port, auth={"renew_at": 0.04}, options=PATIENT).connection
    (source,) = shared_sources()
    owner = StalledPublisher(raw, queue)
    proxied.stall()
    with running(owner.publish):
        eventually(owner.is_stuck)
        issuer.token_lifetime = 300  # not earlier: it would go out before the link is full
        eventually(lambda: raw.postponed is not None and raw.postponed.lifetime > 100)
        assert raw.credentials is not source.current
        source.detach(raw)  # from here on the renewal thread leaves it to the owner
        proxied.resume()
    assert raw.credentials is source.current
    raw.channel().close()


@both_links
def test_a_stalled_link_holds_no_other_up(
    *,
    connect: Connect,
    queue: str,
    issuer: OidcIssuer,
    proxied: TcpProxy,
    eventually: Callable[..., None],
    tls: bool,
) -> None:
    """While one connection's buffers are full the others are renewed, and it is when it flows."""
    issuer.token_lifetime = 15
    early = {"renew_at": 0.04}
    stalled = connect(tls=tls, port=proxied.port, auth=early, options=PATIENT).connection
    other = connect(tls=tls, auth=early).connection
    (source,) = shared_sources()
    owner = StalledPublisher(stalled, queue)
    proxied.stall()
    with running(owner.publish):
        eventually(owner.is_stuck)
        carried = stalled.credentials
        before = source.status().rotations
        eventually(lambda: source.status().rotations >= before + 3, "three renewals")
        eventually(lambda: other.credentials is source.current, "the other's renewal")
        assert stalled.credentials is carried
        proxied.resume()
    eventually(lambda: stalled.credentials is source.current, "its own renewal")
    assert stalled.connected
    assert other.connected


@both_links
def test_a_cut_link_is_noticed_by_its_owner_alone(
    *,
    connect: Connect,
    queue: str,
    mint: Mint,
    proxied: TcpProxy,
    depth: Callable[[str], int],
    eventually: Callable[..., None],
    tls: bool,
) -> None:
    """A renewal of a broken connection does no harm; its owner's next publish connects anew."""
    connection = connect(tls=tls, port=proxied.port)
    raw = connection.connection
    producer = connection.Producer()
    producer.publish({}, routing_key=queue)
    eventually(lambda: depth(queue) == 1)
    (source,) = shared_sources()
    proxied.cut()
    for _ in range(3):
        assert raw.credentials_renewed(mint())
    policy = {"interval_start": 0, "max_retries": 5}
    producer.publish({}, routing_key=queue, retry=True, retry_policy=policy)
    eventually(lambda: depth(queue) >= 2)
    assert connection.connection is not raw
    assert source.status().connections == 1


@both_links
def test_a_connection_closed_elsewhere_raises_what_kombu_handles(
    *,
    connect: Connect,
    eventually: Callable[..., None],
    tls: bool,
) -> None:
    """An owner waiting for messages gets a connection error when another thread lets go."""
    connection = connect(tls=tls)
    raw = connection.connection
    raised: list[BaseException] = []
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        try:
            raw.drain_events()
        except connection.recoverable_connection_errors as error:
            raised.append(error)

    with running(wait):
        waiting.wait(5)
        raw.collect()
    assert len(raised) == 1
    assert not raw.connected
    with pytest.raises(connection.recoverable_connection_errors):
        raw.send_heartbeat()


def test_a_link_that_is_gone_needs_no_goodbye(connect: Connect) -> None:
    """A process that exits ends its other links though a thread has just closed one."""
    transport: Any = connect(tls=True).connection.transport
    sock, transport.sock = transport.sock, None
    try:
        transport._say_goodbye()
        assert transport.end() is None
    finally:
        transport.sock = sock


@both_links
def test_closing_lets_go_of_the_socket_whatever_is_read_meanwhile(
    *,
    connect: Connect,
    eventually: Callable[..., None],
    queue: str,
    tls: bool,
) -> None:
    """The end of a consumer that arrives before the broker's answer leaves no socket open."""
    connection, other = connect(tls=tls), connect(tls=tls)
    raw = connection.connection
    name = f"deleted-{queue}"
    channel = raw.channel()
    channel.queue_declare(name, durable=False, auto_delete=False)
    channel.basic_consume(name)
    other.default_channel.queue_delete(name)
    eventually(lambda: not raw.transport.nothing_to_read(), "the end of the consumer")
    sock = raw.sock
    with pytest.raises(amqp.ConsumerCancelled):
        raw.close()
    assert sock.fileno() == -1


@both_links
def test_closing_and_letting_go_among_renewals(
    *,
    connect: Connect,
    prepared: Connect,
    mint: Mint,
    caplog: pytest.LogCaptureFixture,
    tls: bool,
) -> None:
    """Connections may be closed or dropped at any moment while secrets are sent over them."""
    connect(tls=tls, options=PATIENT)
    (source,) = shared_sources()
    tokens = [mint() for _ in range(20)]
    live: list[RotatingConnection] = []
    stop = threading.Event()

    def renew() -> None:
        for credentials in itertools.cycle(tokens):
            source._listeners.announce(credentials)  # as after a fetch: the renewal thread delivers
            source._wake_renewal()
            for raw in tuple(live):
                raw.credentials_renewed(credentials)
            if stop.wait(0.005):
                return

    def come_and_go(number: int) -> None:
        for turn in range(8):
            connection = prepared(tls=tls, options=PATIENT)
            raw = connection.connect()
            live.append(raw)
            raw.channel()
            end: Callable[[], None] = connection.collect if (turn + number) % 2 else raw.close
            end()
            live.remove(raw)

    with running(renew):
        try:
            with running(lambda: come_and_go(1)), running(lambda: come_and_go(2)):
                come_and_go(3)
        finally:
            stop.set()
    assert source.status().connections == 1
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []


@both_links
def test_a_publish_beside_a_heartbeat_and_renewals_keeps_its_time_limit(
    *,
    connect: Connect,
    mint: Mint,
    proxied: TcpProxy,
    queue: str,
    tls: bool,
) -> None:
    """The time limits of py-amqp hold as they do without renewals."""
    raw = connect(tls=tls, port=proxied.port, options={"write_timeout": 0.5, **PATIENT}).connection
    channel = raw.channel()
    with pytest.raises(TimeoutError):
        raw.drain_events(timeout=0.05)
    assert raw.credentials_renewed(mint())
    raw.send_heartbeat()
    proxied.stall()
    # A timeout itself, or what newer releases of py-amqp make of it.
    timed_out = TimeoutError, amqp.RecoverableConnectionError, amqp.RecoverableChannelError
    with pytest.raises(timed_out, match="timed out"):
        publish_much(channel, queue)
    # A part of a frame is out: the connection is of no use any more, and says so.
    assert not raw.connected
    assert raw.credentials_renewed(mint())
