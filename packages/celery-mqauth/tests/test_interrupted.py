"""A signal's handler that uses a connection, as that of Celery's beat does, never hangs.

py-amqp waits for its own lock in the middle of a write, and for the rest of a frame of which the
interrupted read has taken the beginning. A handler that raises, as a time limit does, leaves it in
the middle of a frame, which the next read takes for the beginning of one.
"""

from __future__ import annotations

import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import amqp
import kombu
import pytest
from amqp.serialization import dumps

from celery_mqauth import rotation_mode, sockets
from celery_mqauth.sockets import TCPSocketTransport, TLSSocketTransport
from mqauth.credentials import BrokerCredentials

both_links = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
Connect = Callable[..., kombu.Connection]
Mint = Callable[..., BrokerCredentials]
Interrupting = Callable[[], AbstractContextManager[None]]
LIMIT = 20.0


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


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Interrupting:
    """Return a context manager that sends SIGUSR1 here once this thread waits for a socket.

    Not after a while: a busy machine may not have come as far as that, or be in a read.
    """
    main, waits = threading.get_ident(), sockets.wait_until_ready

    @contextmanager
    def during() -> Iterator[None]:
        waiting = threading.Event()

        def noted(sock: Any, **limits: Any) -> bool:
            waiting.set()
            return waits(sock, **limits)

        def interrupt() -> None:
            if waiting.wait(LIMIT):
                time.sleep(0.1)  # most likely it waits in the kernel by then
                signal.pthread_kill(main, signal.SIGUSR1)

        thread = threading.Thread(target=interrupt)
        with monkeypatch.context() as patch:
            patch.setattr(sockets, "wait_until_ready", noted)
            thread.start()
            try:
                yield
            finally:
                waiting.set()
                thread.join()

    return during


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
    *,
    connect: Connect,
    queue: str,
    broken_off: list[object],
    interrupting: Interrupting,
    tls: bool,
) -> None:
    """A connection that only waits is closed in order."""
    connection = connect(tls=tls)
    raw = connection.connection
    transport = raw.transport
    channel = connection.channel()
    channel.basic_consume(queue, no_ack=True)
    close_and_leave_at_signal(connection)
    with pytest.raises(SystemExit), interrupting():
        raw.drain_events(timeout=LIMIT)
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


class OutOfTimeError(Exception):
    """What a time limit raises."""


def raise_at_signal(kind: type[BaseException]) -> None:
    """Raise at SIGUSR1, as a time limit does."""

    def strike(*_: object) -> None:
        raise kind

    signal.signal(signal.SIGUSR1, strike)


@both_links
def test_a_time_limit_in_the_middle_of_a_read_ends_the_link(
    *, connect: Connect, queue: str, tls: bool
) -> None:
    """The next publish finds a broken link, and does not wait for an end of garbage."""
    connection = connect(tls=tls, options={"confirm_publish": True})
    raw, producer = connection.connection, connection.Producer()
    transport = raw.transport
    producer.publish({}, routing_key=queue)
    receive, reads = transport._receive_now, 0

    def receive_and_strike(size: int) -> bytes:
        nonlocal reads
        received: bytes = receive(size)
        reads += 1
        if reads == 2:  # behind the head of the broker's confirmation
            signal.raise_signal(signal.SIGUSR1)
        return received

    transport._receive_now = receive_and_strike
    raise_at_signal(OutOfTimeError)
    with pytest.raises(OutOfTimeError):
        producer.publish({}, routing_key=queue)
    assert not raw.connected
    with pytest.raises(connection.recoverable_connection_errors):
        producer.publish({}, routing_key=queue)


@both_links
def test_a_time_limit_between_two_frames_does_no_harm(
    *,
    connect: Connect,
    queue: str,
    broken_off: list[object],
    interrupting: Interrupting,
    tls: bool,
) -> None:
    """A wait for messages that is given up goes on later."""
    connection = connect(tls=tls)
    raw = connection.connection
    received: list[Any] = []
    channel = connection.channel()
    channel.basic_consume(queue, no_ack=True, callback=received.append)
    raise_at_signal(OutOfTimeError)
    with pytest.raises(OutOfTimeError), interrupting():
        raw.drain_events(timeout=LIMIT)
    connection.Producer().publish({}, routing_key=queue)
    while not received:
        raw.drain_events(timeout=10)
    assert broken_off == []


@both_links
def test_a_handler_that_waits_for_answers_between_two_frames(
    *, connect: Connect, queue: str, broken_off: list[object], tls: bool
) -> None:
    """Time after time it asks the broker, and the read that it interrupts goes on."""
    connection = connect(tls=tls)
    raw = connection.connection
    asked: list[Any] = []
    received: list[Any] = []
    channel = connection.channel()
    channel.basic_consume(queue, no_ack=True, callback=received.append)
    producer = connection.Producer()

    def ask(*_: object) -> None:
        asked.append(channel.queue_declare(queue, passive=True))
        if len(asked) == 3:
            producer.publish({}, routing_key=queue)

    signal.signal(signal.SIGUSR1, ask)
    main, stop = threading.get_ident(), threading.Event()

    def interrupt() -> None:
        while not stop.wait(0.2) and len(asked) < 3:
            signal.pthread_kill(main, signal.SIGUSR1)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        while not received:
            raw.drain_events(timeout=10)
    finally:
        stop.set()
        interrupting.join()
    assert len(asked) >= 3
    assert broken_off == []


@both_links
def test_half_a_frame_that_a_handler_took_ends_the_link(
    *,
    connect: Connect,
    queue: str,
    broken_off: list[object],
    interrupting: Interrupting,
    tls: bool,
) -> None:
    """The read that goes on would not look for it; that is told instead of waited for."""
    connection, other = connect(tls=tls), connect(tls=tls)
    raw = connection.connection
    transport = raw.transport
    channel = connection.channel()
    channel.basic_consume(queue, no_ack=True)
    receive, parts = transport._receive_now, [3, 0]

    def receive_part(size: int) -> bytes:
        if not parts:
            return bytes(receive(size))
        if part := parts.pop(0):
            return bytes(receive(part))
        raise BlockingIOError

    def look(*_: object) -> None:
        other.Producer().publish({}, routing_key=queue)
        while transport.nothing_to_read():
            pass
        transport._receive_now = receive_part
        with pytest.raises(TimeoutError):
            raw.drain_events(timeout=0)

    signal.signal(signal.SIGUSR1, look)
    with pytest.raises(connection.recoverable_connection_errors), interrupting():
        raw.drain_events(timeout=LIMIT)
    assert transport in broken_off


@both_links
def test_two_threads_that_read_one_after_the_other(
    *, connect: Connect, queue: str, broken_off: list[object], tls: bool
) -> None:
    """What one is doing is not taken for what the other does."""
    connection = connect(tls=tls)
    raw, producer = connection.connection, connect(tls=tls).Producer()
    received: list[Any] = []
    channel = connection.channel()
    channel.basic_consume(queue, no_ack=True, callback=received.append)
    begun = threading.Event()

    def read() -> None:
        begun.wait(5)
        raw.drain_events(timeout=10)

    reading = threading.Thread(target=read)
    reading.start()
    threading.Timer(0.1, begun.set).start()
    with pytest.raises(TimeoutError):
        raw.drain_events(timeout=0.5)
    producer.publish({}, routing_key=queue)
    reading.join(10)
    assert len(received) == 1
    producer.publish({}, routing_key=queue)
    raw.drain_events(timeout=10)
    assert len(received) == 2
    assert broken_off == []


def test_no_renewal_goes_into_the_middle_of_a_frame(
    connect: Connect, queue: str, mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that has just come nor one that is only tried."""
    raw = connect().connection
    channel = raw.channel()
    transport = raw.transport
    monkeypatch.setattr(rotation_mode, "FIRST_RETRY", 0.0)
    raw.rotation.not_in_place()
    assert raw.rotation.trial_due
    send, renewals = transport._send_now, (mint(), mint())

    def renew_in_between(data: Any) -> int:
        transport._send_now = send
        sent: int = send(memoryview(data)[:5])
        assert not raw.credentials_renewed(renewals[0])
        raw.try_in_place(renewals[1])
        return sent

    transport._send_now = renew_in_between
    channel.queue_declare(queue, passive=True)
    channel.queue_declare(queue, passive=True)
    assert raw.connected


@both_links
def test_a_time_out_of_the_callers_own_in_the_middle_of_a_read_ends_the_link(
    *, connect: Connect, queue: str, tls: bool
) -> None:
    """What SIGALRM raises is a `TimeoutError` as often as not; a part of the frame is lost."""
    connection = connect(tls=tls)
    raw = connection.connection
    transport = raw.transport
    received: list[Any] = []
    connection.channel().basic_consume(queue, no_ack=True, callback=received.append)
    receive, reads = transport._receive_now, 0

    def receive_and_strike(size: int) -> bytes:
        nonlocal reads
        got: bytes = receive(size)
        reads += 1
        if reads == 2:
            signal.raise_signal(signal.SIGUSR1)
        return got

    transport._receive_now = receive_and_strike
    raise_at_signal(TimeoutError)
    connect(tls=tls).Producer().publish({}, routing_key=queue)
    with pytest.raises(TimeoutError):
        raw.drain_events(timeout=10)
    assert not raw.connected
    with pytest.raises(connection.recoverable_connection_errors):
        raw.drain_events(timeout=10)
    assert received == []


@both_links
@pytest.mark.parametrize("kind", [OutOfTimeError, TimeoutError])
def test_what_strikes_before_a_frame_is_handed_over_ends_the_link(
    *, connect: Connect, queue: str, tls: bool, kind: type[BaseException]
) -> None:
    """Otherwise a frame would be missing, and nobody would know."""
    connection = connect(tls=tls)
    raw, channel = connection.connection, connection.channel()
    transport = raw.transport
    read_frame = transport.read_frame

    def read_and_strike(*options: Any) -> Any:
        frame = read_frame(*options)
        signal.raise_signal(signal.SIGUSR1)
        return frame

    transport.read_frame = read_and_strike
    raise_at_signal(kind)
    with pytest.raises(kind):
        channel.queue_declare(queue, passive=True)
    assert not raw.connected
    with pytest.raises(connection.recoverable_connection_errors):
        channel.queue_declare(queue, passive=True)


@both_links
def test_what_a_callback_raises_does_no_harm(
    *, connect: Connect, queue: str, broken_off: list[object], tls: bool
) -> None:
    """It has been handed over."""
    connection = connect(tls=tls)
    raw, channel = connection.connection, connection.channel()
    received: list[Any] = []

    def take(message: Any) -> None:
        received.append(message)
        raise OutOfTimeError

    channel.basic_consume(queue, no_ack=True, callback=take)
    for number in (1, 2):
        connection.Producer().publish({}, routing_key=queue)
        with pytest.raises(OutOfTimeError):
            raw.drain_events(timeout=10)
        assert len(received) == number
    assert broken_off == []


@both_links
def test_a_limit_ends_with_its_read(
    *, connect: Connect, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if something strikes at the very end; the next wait would be over too soon."""
    raw = connect(tls=tls).connection
    transport = raw.transport

    def strike(*_: object) -> None:
        raise OutOfTimeError

    # As a signal does that is handled at the first step of what ends the limit.
    monkeypatch.setattr("celery_mqauth.sockets._Limit.__exit__", strike)
    with pytest.raises((OutOfTimeError, TimeoutError)):
        raw.drain_events(timeout=0.1)
    assert transport.limit is None


@both_links
def test_the_rest_of_a_frame_is_never_read(
    *, connect: Connect, queue: str, new_queue: Callable[[], str], tls: bool
) -> None:
    """The kernel keeps it although the link was ended; a message may hold what looks like one."""
    connection = connect(tls=tls)
    raw = connection.connection
    transport = raw.transport
    received: list[Any] = []
    channel, other = connection.channel(), connection.channel()
    channel.basic_consume(queue, no_ack=True, callback=received.append)
    tag = other.basic_consume(new_queue(), no_ack=True, callback=received.append)
    receive = transport._receive_now
    body = b"x" * 100 + a_delivery(other.channel_id, tag)

    def receive_a_part(size: int) -> bytes:
        if size < len(body):
            return bytes(receive(size))
        transport._receive_now = receive
        got = bytes(receive(100))
        signal.raise_signal(signal.SIGUSR1)
        return got

    transport._receive_now = receive_a_part
    raise_at_signal(OutOfTimeError)
    connect(tls=tls).Producer().publish(body, routing_key=queue)
    with pytest.raises(OutOfTimeError):
        raw.drain_events(timeout=10)
    with pytest.raises(connection.recoverable_connection_errors):
        raw.drain_events(timeout=10)
    assert received == []


def a_delivery(channel: int, tag: str) -> bytes:
    """Return the frames of a message of one byte."""
    payloads = {
        1: struct.pack(">HH", *amqp.spec.Basic.Deliver) + dumps("sLbss", (tag, 1, False, "", "")),
        2: struct.pack(">HHQH", amqp.spec.Basic.Deliver[0], 0, 1, 0),
        3: b"y",
    }
    return b"".join(
        struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"
        for kind, payload in payloads.items()
    )


@both_links
def test_nothing_is_published_after_a_close_that_was_interrupted(
    *, connect: Connect, queue: str, tls: bool
) -> None:
    """The broker would throw it away without a word."""
    connection = connect(tls=tls)
    raw, producer = connection.connection, connection.Producer()
    transport = raw.transport
    producer.publish({}, routing_key=queue)

    def strike(*_: object) -> None:
        raise OutOfTimeError

    transport.read_frame = strike
    with pytest.raises(OutOfTimeError):
        raw.close()
    assert not raw.connected
    assert transport.sock is None
    with pytest.raises(connection.recoverable_connection_errors):
        producer.publish({}, routing_key=queue)


@both_links
@pytest.mark.parametrize("raises", [False, True], ids=["publishes", "raises"])
def test_in_the_middle_of_a_renewal(
    *, connect: Connect, queue: str, mint: Mint, broken_off: list[object], raises: bool, tls: bool
) -> None:
    """The owner's thread writes one as soon as it is connected, if it is late by then."""
    connection = connect(tls=tls)
    raw, channel = connection.connection, connection.channel()
    transport, producer = raw.transport, connection.Producer()
    send = transport._send_now

    def send_half(data: Any) -> int:
        transport._send_now = send
        sent: int = send(memoryview(data)[: len(data) // 2])
        signal.raise_signal(signal.SIGUSR1)
        return sent

    def interrupt(*_: object) -> None:
        if raises:
            raise OutOfTimeError
        with pytest.raises(connection.recoverable_connection_errors):
            producer.publish({}, routing_key=queue)

    signal.signal(signal.SIGUSR1, interrupt)
    producer.publish({}, routing_key=queue)
    transport._send_now = send_half
    if raises:
        with pytest.raises(OutOfTimeError):
            raw.credentials_renewed(mint())
    else:
        raw.credentials_renewed(mint())
    assert transport in broken_off
    with pytest.raises(connection.recoverable_connection_errors):
        channel.queue_declare(queue, passive=True)


@both_links
def test_no_late_answer_is_taken_for_the_next_one(
    *, connect: Connect, queue: str, new_queue: Callable[[], str], tls: bool
) -> None:
    """A question that a time limit broke off is answered first."""
    connection = connect(tls=tls)
    raw, channel = connection.connection, connection.channel()
    transport = raw.transport
    read_frame = transport.read_frame

    def strike(*_: object) -> None:
        transport.read_frame = read_frame
        raise OutOfTimeError

    transport.read_frame = strike
    with pytest.raises(OutOfTimeError):
        channel.queue_declare(queue, passive=True)
    with pytest.raises(connection.recoverable_connection_errors):
        channel.queue_declare(new_queue(), passive=True)
