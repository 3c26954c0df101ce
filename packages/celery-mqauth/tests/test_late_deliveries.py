"""What lies in the socket of a connection that the broker has closed is not handled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import amqp
import kombu
import pytest

from celery_mqauth.errors import CredentialRanOutError
from mqauth.shared import shared_sources
from mqauth_sandbox import Broker, OidcIssuer

LIFETIME = 8
PAST_EXPIRY = 2.5


@pytest.mark.parametrize("renewed", [False, True], ids=["outage", "renewed-too-late"])
def test_a_delivery_on_a_lapsed_connection_is_not_handled(
    *,
    connect: Callable[..., kombu.Connection],
    issuer: OidcIssuer,
    broker: Broker,
    admin: kombu.Connection,
    queue: str,
    depth: Callable[[str], int],
    eventually: Callable[..., None],
    renewed: bool,
) -> None:
    """The broker has taken it back: whoever was suspended meanwhile must not work on it, too."""
    issuer.token_lifetime = LIFETIME
    connection = connect(auth={"renew_at": 0.9})
    received: list[Any] = []
    consumer = connection.Consumer([kombu.Queue(queue, no_declare=True)], prefetch_count=1)
    consumer.register_callback(lambda _, message: received.append(message))
    consumer.consume()
    (source,) = shared_sources()
    issuer.faults.mode = "error500"
    admin.default_channel.basic_publish(amqp.Message("task"), "", queue)
    expiry = connection.connection.credentials.local_expiry
    eventually(lambda: time.time() > expiry + PAST_EXPIRY, "the expiry")
    if renewed:
        old = source.current
        issuer.faults.reset()
        eventually(lambda: source.current is not old, "the renewal")
    if broker.version.startswith("3."):  # leaves such connections open
        connection.drain_events(timeout=5)
        assert len(received) == 1
        return
    with pytest.raises(CredentialRanOutError) as raised:
        connection.drain_events(timeout=5)
    assert isinstance(raised.value, connection.recoverable_connection_errors)
    assert received == []
    assert depth(queue) == 1
