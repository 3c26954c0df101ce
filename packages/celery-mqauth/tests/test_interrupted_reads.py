"""A read that was interrupted never takes the rest of a frame for the beginning of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kombu
import pytest

from celery_mqauth import sockets

both_links = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
Connect = Callable[..., kombu.Connection]


class OutOfTimeError(Exception):
    """What a time limit raises."""


def test_a_read_that_waited_for_a_frame_that_a_handler_has_begun(
    connect: Connect, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the rest for no frame, although the kernel keeps that."""
    connection = connect()
    raw = connection.connection
    transport, waits = raw.transport, sockets.wait_until_ready
    received: list[Any] = []
    connection.channel().basic_consume(queue, no_ack=True, callback=received.append)

    def wait_and_interrupt(sock: Any, *, writable: bool, timeout: float | None) -> bool:
        monkeypatch.setattr(sockets, "wait_until_ready", waits)
        connect().Producer().publish("x" * 1000, routing_key=queue)
        ready = waits(sock, writable=writable, timeout=timeout)
        assert transport._receive_now(1)
        transport.lose_step()
        return ready

    monkeypatch.setattr(sockets, "wait_until_ready", wait_and_interrupt)
    with pytest.raises(OSError, match="has interrupted what was read"):
        raw.drain_events(timeout=10)
    assert received == []


@both_links
def test_the_time_out_of_another_connection_in_the_middle_of_a_frame(
    *, connect: Connect, queue: str, tls: bool
) -> None:
    """A handler that reads that one lets it escape; what was read of this one is gone."""
    connection, other = connect(tls=tls), connect(tls=tls)
    raw = connection.connection
    transport = raw.transport
    connection.channel().basic_consume(queue, no_ack=True)
    receive, reads = transport._receive_now, 0

    def receive_and_look_elsewhere(size: int) -> bytes:
        nonlocal reads
        received: bytes = receive(size)
        reads += 1
        if reads == 2:
            other.connection.drain_events(timeout=0.1)
        return received

    transport._receive_now = receive_and_look_elsewhere
    connect(tls=tls).Producer().publish({}, routing_key=queue)
    with pytest.raises(TimeoutError):
        raw.drain_events(timeout=10)
    assert not raw.connected


@both_links
@pytest.mark.parametrize(
    "step", ["amqp.abstract_channel.loads", "celery_mqauth.channel.tag_of"], ids=["parse", "tag"]
)
def test_a_strike_between_a_message_and_its_callback_ends_the_link(
    *,
    connect: Connect,
    queue: str,
    depth: Callable[[str], int],
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    tls: bool,
) -> None:
    """The broker gives it to others then."""
    connection = connect(tls=tls)
    raw = connection.connection
    received: list[Any] = []
    connection.channel().basic_consume(queue, callback=received.append)

    def strike(*_: object) -> None:
        raise OutOfTimeError

    connect(tls=tls).Producer().publish({}, routing_key=queue)
    with monkeypatch.context() as patch:
        patch.setattr(step, strike)
        with pytest.raises(OutOfTimeError):
            raw.drain_events(timeout=10)
    assert not raw.connected
    assert received == []
    raw.collect()
    eventually(lambda: depth(queue) == 1, "the message")


def test_a_message_of_a_channel_that_is_being_closed(connect: Connect, queue: str) -> None:
    """Nobody is called back, and its frames have been read nonetheless."""
    connection, other = connect(), connect()
    raw, channel = connection.connection, connection.channel()
    received: list[Any] = []
    channel.basic_consume(queue, no_ack=True, callback=received.append)
    channel.is_closing = True
    other.Producer().publish({}, routing_key=queue)
    raw.drain_events(timeout=10)
    assert not raw.transport.in_frame
    assert received == []
