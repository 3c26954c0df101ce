"""Deliveries that nobody acknowledges are not waited for, though their consumer is cancelled.

Counted as waiting, one of them would keep a connection open that another has replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kombu
import pytest

Connect = Callable[..., kombu.Connection]


def deliver(connection: kombu.Connection, raw: Any, queue: str) -> None:
    """Publish, and wait until the message lies unread in the socket of `raw`."""
    connection.Producer().publish({}, routing_key=queue)
    while raw.transport.nothing_to_read():
        pass


def test_a_delivery_after_a_cancellation_that_nobody_waits_for(
    connect: Connect, queue: str
) -> None:
    """No answer tells when the last one has come."""
    connection, other = connect(), connect()
    raw, channel = connection.connection, connection.channel()
    received: list[Any] = []
    tag = channel.basic_consume(queue, no_ack=True, callback=received.append)
    deliver(other, raw, queue)
    channel.basic_cancel(tag, nowait=True)
    raw.drain_events(timeout=10)
    assert len(received) == 1
    assert channel.unacknowledged == set()


@pytest.mark.parametrize("nowait", [False, True])
def test_the_next_consumer_of_that_name_acknowledges(
    connect: Connect, queue: str, *, nowait: bool
) -> None:
    """What it gets waits for an answer."""
    connection, other = connect(), connect()
    raw, channel = connection.connection, connection.channel()
    received: list[Any] = []
    channel.basic_consume(queue, "me", no_ack=True, callback=received.append)
    channel.basic_cancel("me", nowait=nowait)
    channel.basic_consume(queue, "me", callback=received.append)
    deliver(other, raw, queue)
    raw.drain_events(timeout=10)
    assert channel.unacknowledged == {received[0].delivery_tag}
