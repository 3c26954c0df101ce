"""A signal's handler that closes a connection, as that of Celery's beat does, never hangs.

py-amqp waits for its own lock in the middle of a write, and for the rest of a frame of which the
interrupted read has taken the beginning.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest

from celery_mqauth.sockets import TCPSocketTransport, TLSSocketTransport

both_links = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
Connect = Callable[..., kombu.Connection]


@pytest.fixture(autouse=True)
def _user_signal() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def broken_off(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Record the links that are ended without a word."""
    broken: list[object] = []
    for kind in (TCPSocketTransport, TLSSocketTransport):

        def recorded(transport: Any, usual: Callable[[Any], None] = kind.break_off) -> None:
            broken.append(transport)
            usual(transport)

        monkeypatch.setattr(kind, "break_off", recorded)
    return broken


def close_and_leave_at_signal(connection: kombu.Connection) -> None:
    """Do at SIGUSR1 what Celery's beat does at SIGTERM."""

    def close_and_leave(*_: object) -> None:
        connection.release()
        raise SystemExit

    signal.signal(signal.SIGUSR1, close_and_leave)


@both_links
def test_in_the_middle_of_a_write(
    *,
    connect: Connect,
    queue: str,
    depth: Callable[[str], int],
    eventually: Callable[..., None],
    broken_off: list[object],
    tls: bool,
) -> None:
    """The half of a message that is out does no harm, and the link is gone."""
    connection = connect(tls=tls)
    raw = connection.connection
    transport, producer = raw.transport, connection.Producer()
    producer.publish({"number": 1}, routing_key=queue)
    send = transport._send_now

    def send_half(data: Any) -> int:
        sent: int = send(memoryview(data)[: len(data) // 2])
        signal.raise_signal(signal.SIGUSR1)
        return sent

    transport._send_now = send_half
    close_and_leave_at_signal(connection)
    with pytest.raises(SystemExit):
        producer.publish({"number": 2}, routing_key=queue)
    assert transport in broken_off
    assert not raw.connected
    assert transport.sock is None
    eventually(lambda: depth(queue) == 1, "the first message")


@both_links
def test_in_the_middle_of_a_read(
    *, connect: Connect, queue: str, broken_off: list[object], tls: bool
) -> None:
    """The rest of a frame is not taken for another one."""
    connection = connect(tls=tls)
    raw = connection.connection
    transport = raw.transport
    connection.Producer().publish({}, routing_key=queue)
    channel = connection.channel()
    receive, taken = transport._receive_now, 0

    def receive_little(size: int) -> bytes:
        nonlocal taken
        if taken == 3:
            signal.raise_signal(signal.SIGUSR1)
        received: bytes = receive(min(size, 3 - taken) if taken < 3 else size)
        taken += len(received)
        return received

    close_and_leave_at_signal(connection)
    channel.basic_consume(queue, no_ack=True)
    transport._receive_now = receive_little
    with pytest.raises(SystemExit):
        raw.drain_events(timeout=10)
    assert transport in broken_off
    assert not raw.connected
    assert transport.sock is None


def test_while_openssl_is_in_use(*, connect: Connect, queue: str) -> None:
    """Closing needs the lock around OpenSSL, which the interrupted thread holds itself."""
    connection = connect(tls=True)
    raw = connection.connection
    transport, producer = raw.transport, connection.Producer()
    producer.publish({}, routing_key=queue)
    open_socket = transport._open_socket

    def interrupt_once() -> Any:
        transport._open_socket = open_socket
        signal.raise_signal(signal.SIGUSR1)
        return open_socket()

    transport._open_socket = interrupt_once
    close_and_leave_at_signal(connection)
    with pytest.raises(SystemExit):
        raw.drain_events(timeout=10)
    assert not raw.connected
    assert transport.sock is None


@both_links
def test_between_two_frames(
    *, connect: Connect, queue: str, broken_off: list[object], tls: bool
) -> None:
    """A connection that only waits is closed in order."""
    connection = connect(tls=tls)
    raw = connection.connection
    transport = raw.transport
    channel = connection.channel()
    channel.basic_consume(queue, no_ack=True)
    close_and_leave_at_signal(connection)
    main = threading.get_ident()
    interrupting = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGUSR1))
    interrupting.start()
    with pytest.raises(SystemExit):
        raw.drain_events(timeout=10)
    interrupting.join()
    assert broken_off == []
    assert transport.sock is None


@both_links
def test_inside_of_a_callback(
    *, connect: Connect, queue: str, broken_off: list[object], tls: bool
) -> None:
    """What a message's callback does with its connection is no interruption."""
    connection = connect(tls=tls)
    raw = connection.connection
    received: list[str] = []

    def take(message: Any) -> None:
        received.append(message.body)
        channel.queue_declare(queue, passive=True)  # waits for an answer
        if len(received) == 2:
            connection.release()

    channel = connection.channel()
    channel.basic_consume(queue, no_ack=True, callback=take)
    producer = connection.Producer()
    for number in range(2):
        producer.publish(str(number), routing_key=queue, serializer="raw")
    while len(received) < 2:
        raw.drain_events(timeout=10)
    assert broken_off == []
    assert received == ["0", "1"]
