"""Whoever consumes is told when its link has ended, whoever ended it.

Kombu opens another connection by itself where one is gone, and nothing is subscribed to on that.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import kombu
import pytest

from celery_mqauth import sockets
from mqauth.credentials import BrokerCredentials

both_links = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
Connect = Callable[..., kombu.Connection]


class OutOfTimeError(Exception):
    """What a time limit raises."""


def strike_behind_a_head(transport: Any) -> None:
    """Raise what a time limit raises when the beginning of a frame has been read."""
    receive, reads = transport._receive_now, 0

    def receive_and_strike(size: int) -> bytes:
        nonlocal reads
        received: bytes = receive(size)
        reads += 1
        if reads == 2:
            raise OutOfTimeError
        return received

    transport._receive_now = receive_and_strike


@contextmanager
def told(connection: kombu.Connection) -> Iterator[None]:
    """Expect what is raised where a link has ended; that of a time-out says nothing of the kind."""
    with pytest.raises(connection.recoverable_connection_errors) as raised:
        yield
    assert not isinstance(raised.value, TimeoutError)


def consume(connection: kombu.Connection, queue: str) -> list[Any]:
    """Subscribe, and return where the messages go."""
    received: list[Any] = []
    consumer = connection.Consumer(
        kombu.Queue(queue, no_declare=True), on_message=received.append, no_ack=True
    )
    consumer.consume()
    return received


@both_links
def test_a_time_limit_in_the_middle_of_a_frame(*, connect: Connect, queue: str, tls: bool) -> None:
    """The next read says that the link is gone, and the one after that has another."""
    connection = connect(tls=tls)
    raw = connection.connection
    received = consume(connection, queue)
    strike_behind_a_head(raw.transport)
    connect(tls=tls).Producer().publish({}, routing_key=queue)
    with pytest.raises(OutOfTimeError):
        connection.drain_events(timeout=10)
    with told(connection):
        connection.drain_events(timeout=10)
    connection.ensure_connection()
    assert connection.connection is not raw
    raw.collect()
    assert received == []


def test_a_renewal_that_stalls(
    connect: Connect,
    queue: str,
    mint: Callable[..., BrokerCredentials],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The renewal thread has nobody to tell it to."""
    connection = connect()
    raw = connection.connection
    transport, waits = raw.transport, sockets.wait_until_ready
    consume(connection, queue)
    send, sent = transport._send_now, 0

    def send_half(data: Any) -> int:
        nonlocal sent
        if sent:
            raise BlockingIOError
        sent = int(send(memoryview(data)[: len(data) // 2]))
        return sent

    def never_again(sock: Any, *, writable: bool, timeout: float | None) -> bool:
        return not (writable and sent) and waits(sock, writable=writable, timeout=timeout)

    with monkeypatch.context() as patch:
        patch.setattr(transport, "_send_now", send_half)
        patch.setattr(sockets, "wait_until_ready", never_again)
        assert raw.credentials_renewed(mint())
    assert not raw.connected
    with told(connection):
        connection.drain_events(timeout=10)


def test_whoever_only_publishes_gets_another_without_a_word(connect: Connect, queue: str) -> None:
    """As with Kombu's own transport."""
    connection = connect()
    raw = connection.connection
    connection.default_channel.queue_declare(queue, passive=True)
    raw.lose_step()
    connection.default_channel.queue_declare(queue, passive=True)
    assert connection.connection is not raw
    raw.collect()


def test_whoever_opens_a_channel_has_been_told(connect: Connect, queue: str) -> None:
    """A loop that connects, subscribes and reads goes on."""
    connection = connect()
    raw = connection.connection
    received = consume(connection, queue)
    raw.lose_step()
    with told(connection):
        connection.channel()
    connection.ensure_connection()
    received = consume(connection, queue)
    connect().Producer().publish({}, routing_key=queue)
    while not received:
        connection.drain_events(timeout=10)
    assert connection.connection is not raw
    raw.collect()


def cut(raw: Any) -> None:
    """Have the next write find the link broken, before anything is read."""
    raw.transport.sock.shutdown(socket.SHUT_RDWR)


def test_a_question_meets_the_end_first(connect: Connect, queue: str) -> None:
    """Whoever begins anew, with Kombu's own means, has another connection."""
    connection = connect()
    raw, channel = connection.connection, connection.channel()
    channel.basic_consume(queue, callback=print)
    cut(raw)
    with pytest.raises(connection.recoverable_connection_errors):
        channel.queue_declare(queue, passive=True)
    connection.ensure_connection()
    assert connection.connection is not raw
    raw.collect()


def test_a_message_meets_the_end_again_and_again(connect: Connect, queue: str) -> None:
    """Who publishes on the connection that consumes is not kept on a dead one."""
    connection = connect()
    raw, channel = connection.connection, connection.channel()
    channel.basic_consume(queue, callback=print)
    raw.lose_step()
    for _ in range(2):
        with pytest.raises(connection.recoverable_connection_errors):
            channel.basic_publish(amqp.Message("x"), "", queue)
    connection.ensure_connection()
    assert connection.connection is not raw
    raw.collect()
