"""A publish on a connection whose credential has run out raises before anything is written."""

from __future__ import annotations

import time
from collections.abc import Callable

import amqp
import kombu
import pytest
import time_machine

from celery_mqauth import worker_heartbeats
from celery_mqauth.connection import RotatingConnection
from celery_mqauth.errors import (
    CredentialRanOutError,
    CredentialUnavailableError,
    HeartbeatNotSentError,
)
from mqauth.shared import shared_sources
from mqauth_sandbox import OidcIssuer

Connect = Callable[..., kombu.Connection]
Publish = Callable[[RotatingConnection, str], None]
LIFETIME = 8
"""Seconds of a token that is to run out, though a stalled machine takes some to sign in."""
LATE = {"renew_at": 0.9}
"""Renewal so late that not many attempts fail before the credential runs out."""
POLICY = {"interval_start": 0.2, "interval_step": 0.2, "max_retries": 50}


def expire(connections: list[kombu.Connection], issuer: OidcIssuer) -> None:
    """Let the credential that all these connections carry run out."""
    issuer.faults.mode = "error500"
    (source,) = shared_sources()
    end = time.monotonic() + 30
    # First a failure: a renewal that was under way is through by then, or has failed.
    while not source.status().failures:
        assert time.monotonic() < end, "no renewal failed"
        time.sleep(0.01)
    while time.time() < max(each.connection.usable_until for each in connections):
        time.sleep(0.01)
    issuer.token_lifetime = 300


def publish_raw(raw: RotatingConnection, queue: str) -> None:
    """Publish as py-amqp's users do."""
    raw.channels[1].basic_publish(amqp.Message("x"), routing_key=queue)


def publish_confirmed(raw: RotatingConnection, queue: str) -> None:
    """Publish and wait for the broker's confirmation."""
    raw.channels[1].basic_publish_confirm(amqp.Message("x"), routing_key=queue)


def publish_by_producer(raw: RotatingConnection, queue: str) -> None:
    """Publish as Kombu does."""
    kombu.Producer(raw.channels[1], auto_declare=False).publish("x", routing_key=queue)


def drain_until_closed(raw: RotatingConnection) -> None:
    """Wait for what the broker says until it ends the connection."""
    while True:
        raw.drain_events(timeout=30)


WAYS: tuple[Publish, ...] = (publish_raw, publish_confirmed, publish_by_producer)


def test_nothing_is_written_with_an_expired_credential(
    connect: Connect, issuer: OidcIssuer, new_queue: Callable[[], str], depth: Callable[[str], int]
) -> None:
    """Every way to publish raises one line with cause and remedy, and not one frame leaves."""
    queues = [new_queue() for _ in WAYS]
    issuer.token_lifetime = LIFETIME
    connections = [connect(auth=LATE) for _ in WAYS]
    for connection in connections:  # and put the channel into confirm mode, which is a frame, too
        connection.connection.channel().basic_publish_confirm(amqp.Message(), routing_key="nowhere")
    expire(connections, issuer)
    for connection, publish, queue in zip(connections, WAYS, queues, strict=True):
        raw = connection.connection
        channel, frames = raw.channels[1], raw.bytes_sent
        with pytest.raises(CredentialRanOutError) as raised:
            publish(raw, queue)
        assert raw.bytes_sent == frames
        assert not raw.connected
        assert isinstance(raised.value, connection.recoverable_connection_errors)
        text = str(raised.value)
        assert "the credential of this connection ran out: " in text
        assert "it was not renewed in time" not in text  # but why it was not
        assert "nothing was sent; the next connection signs in anew" in text
        assert "\n" not in text
        with pytest.raises(connection.recoverable_connection_errors):
            channel.basic_publish(amqp.Message("x"), routing_key=queue)
        assert depth(queue) == 0


def test_a_heartbeat_is_given_up_at_once(
    connect: Connect, issuer: OidcIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery retries it for ever in the worker's event loop, where Kombu lets it."""
    monkeypatch.setattr(worker_heartbeats, "_exchanges", {"events"})
    issuer.token_lifetime = LIFETIME
    connection = connect(auth=LATE)
    raw = connection.connection
    channel = raw.channel()
    expire([connection], issuer)
    producer = kombu.Producer(channel, auto_declare=False)
    frames = raw.bytes_sent
    with pytest.raises(HeartbeatNotSentError) as raised:
        producer.publish("x", exchange="events", routing_key="worker.heartbeat", retry=True)
    assert raw.bytes_sent == frames
    assert raw.connected  # a renewal may save it
    assert isinstance(raised.value, connection.connection_errors)
    assert not isinstance(raised.value, connection.recoverable_connection_errors)
    for elsewhere in ({"exchange": "events"}, {"routing_key": "worker.heartbeat"}):
        with pytest.raises(amqp.RecoverableConnectionError):
            channel.basic_publish(amqp.Message("x"), **elsewhere)


def test_nobody_signs_in_with_what_is_about_to_end(connect: Connect, issuer: OidcIssuer) -> None:
    """Nothing could be sent, and each try of a producer's policy would be over at once."""
    issuer.token_lifetime = 12  # of which the last 0.6 s are too late to send anything
    connection = connect(auth=LATE)
    (source,) = shared_sources()
    issuer.faults.mode = "error500"
    credentials = source.get()
    # The clock stands still there, or a stalled machine would let that moment pass.
    with time_machine.travel(connection.connection.usable_until + 0.1, tick=False):
        assert credentials.remaining() > 0
        with pytest.raises(CredentialUnavailableError, match="about to end, and there is no newer"):
            connection.clone().transport.establish_connection()


@pytest.mark.parametrize("confirm", [False, True], ids=["unconfirmed", "confirmed"])
def test_a_retrying_producer_recovers_by_itself(
    *,
    connect: Connect,
    issuer: OidcIssuer,
    queue: str,
    depth: Callable[[str], int],
    eventually: Callable[..., None],
    confirm: bool,
) -> None:
    """With `retry=True` the publish waits until the issuer is back and arrives exactly once."""
    issuer.token_lifetime = LIFETIME
    connection = connect(auth=LATE, options={"confirm_publish": confirm})
    raw = connection.connection
    expire([connection], issuer)
    producer = connection.Producer(auto_declare=False)
    failures: list[BaseException] = []

    def errback(error: BaseException, interval: float) -> None:
        failures.append(error)
        if len(failures) == 2:  # it ran out; then there was no new one
            issuer.faults.reset()

    producer.publish(
        "x", routing_key=queue, retry=True, retry_policy={**POLICY, "errback": errback}
    )
    assert len(failures) >= 2
    eventually(lambda: depth(queue) == 1, "the message")
    assert connection.connection is not raw


@pytest.mark.parametrize("sandbox", ["4"], indirect=True)
def test_a_waiting_consumer_gets_a_recoverable_error(
    connect: Connect, issuer: OidcIssuer, queue: str
) -> None:
    """RabbitMQ 4.3 ends the connection when its credential does; Kombu and Celery reconnect."""
    issuer.token_lifetime = LIFETIME
    connection = connect(auth=LATE)
    raw = connection.connection
    raw.channel().basic_consume(queue, callback=print)
    with issuer.faults.during("down"), pytest.raises(amqp.ConnectionForced) as raised:
        drain_until_closed(raw)
    assert isinstance(raised.value, connection.recoverable_connection_errors)
    assert "expired" in str(raised.value)
    assert not raw.connected
    (source,) = shared_sources()
    assert source.status().connections == 0


def test_a_refusal_at_the_end_of_a_credential_is_no_final_one(
    connect: Connect, issuer: OidcIssuer, queue: str
) -> None:
    """A 403 on a channel once the credential has run out is an expiry, not a missing permission.

    Celery's worker exits on a 403; RabbitMQ up to 4.2.5 answers an expired credential with one.
    """
    issuer.scopes = ["rabbitmq.read:*/*/*"]
    raw = connect().connection
    with pytest.raises(amqp.AccessRefused):
        raw.channel().queue_bind(queue, "amq.direct")
    assert raw.connected
    raw.usable_until = time.time() - 1
    with pytest.raises(CredentialRanOutError):
        raw.channel().queue_bind(queue, "amq.direct")
    assert not raw.connected


def test_a_waking_producer_does_not_publish_with_an_old_credential(
    connect: Connect, issuer: OidcIssuer, queue: str
) -> None:
    """A thread that slept past expiry finds a renewed connection, if the process did not sleep."""
    issuer.token_lifetime = LIFETIME
    connection = connect(auth={"renew_at": 0.1})
    raw = connection.connection
    producer = connection.Producer(auto_declare=False)
    first = raw.credentials
    time.sleep(first.remaining() + 0.2)
    producer.publish("x", routing_key=queue)
    assert connection.connection is raw
    raw.channel().close()
    assert raw.credentials is not first
