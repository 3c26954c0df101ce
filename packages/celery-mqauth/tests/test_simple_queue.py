"""Kombu's simple interface over renewed connections."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty

import kombu
import pytest

from mqauth.credentials import BrokerCredentials

Connect = Callable[..., kombu.Connection]
Mint = Callable[..., BrokerCredentials]

SHORT_LIVED = {"expires": 120.0}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_simple_queue_goes_on_through_renewals(
    *, connect: Connect, mint: Mint, queue: str, tls: bool
) -> None:
    """What was put before a renewal is got after it, on one connection."""
    connection = connect(tls=tls)
    raw = connection.connection
    with connection.SimpleQueue(f"simple-{queue}", queue_opts=SHORT_LIVED) as simple:
        for number in range(20):
            simple.put({"number": number})
            assert raw.credentials_renewed(mint())
            message = simple.get(timeout=10)
            assert message.payload == {"number": number}
            message.ack()
        with pytest.raises(Empty):
            simple.get(timeout=0.05)
        with pytest.raises(Empty):
            simple.get_nowait()
    assert connection.connection is raw


def test_messages_pass_between_renewed_connections(
    connect: Connect, mint: Mint, queue: str
) -> None:
    """Unacknowledged messages arrive among renewals of both sides."""
    giver, taker = connect(), connect()
    with (
        giver.SimpleQueue(f"simple-{queue}", queue_opts=SHORT_LIVED) as outgoing,
        taker.SimpleQueue(f"simple-{queue}", queue_opts=SHORT_LIVED, no_ack=True) as incoming,
    ):
        for number in range(10):
            outgoing.put(number)
            assert giver.connection.credentials_renewed(mint())
            assert taker.connection.credentials_renewed(mint())
            assert incoming.get(timeout=10).payload == number


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_simple_buffer_keeps_its_exclusive_queue(
    *, connect: Connect, mint: Mint, tls: bool
) -> None:
    """A queue that lives as long as its connection outlives renewals."""
    connection = connect(tls=tls)
    with connection.SimpleBuffer("exclusive", queue_opts={"exclusive": True}) as buffer:
        buffer.put("before")
        assert connection.connection.credentials_renewed(mint())
        buffer.put("after")
        assert [buffer.get(timeout=10).payload for _ in range(2)] == ["before", "after"]
