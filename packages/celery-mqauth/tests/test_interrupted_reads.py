"""A read that was interrupted never takes the rest of a frame for the beginning of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kombu
import pytest

from celery_mqauth import sockets

both_links = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
Connect = Callable[..., kombu.Connection]


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
