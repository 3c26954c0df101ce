"""What the broker's log says about connections, read from a real broker's log."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import amqp
import pytest

from mqauth_sandbox import Broker, OidcIssuer
from workloads.broker_log import BrokerRecord, examine, updates

LOG_SECONDS = 30.0
"""The broker writes its log with up to two seconds' delay."""


class Client:
    """Opens connections to a broker and asks its log about them afterwards."""

    def __init__(self, broker: Broker) -> None:
        """Begin the window."""
        self.broker = broker
        self.begin = time.time()

    def connect(self, user: str | None = None, password: str | None = None) -> amqp.Connection:
        """Return an open connection."""
        connection = amqp.Connection(
            f"{self.broker.host}:{self.broker.amqp_port}",
            userid=self.broker.admin_user if user is None else user,
            password=self.broker.admin_password if password is None else password,
            login_method="PLAIN",
        )
        connection.connect()
        return connection

    def record(self, until: Callable[[BrokerRecord], bool]) -> BrokerRecord:
        """Return what the log says once `until` holds; fail if it never does."""
        deadline = time.monotonic() + LOG_SECONDS
        while True:
            log = self.broker.log_text()
            # Whenever the broker notices: nobody else uses it meanwhile.
            record = examine(log, begin=self.begin, end=time.time(), complete=False)
            if until(record):
                return record
            assert time.monotonic() < deadline, f"the log never said so: {record}"
            time.sleep(0.1)


@pytest.fixture
def client(mqauth_broker: Broker) -> Iterator[Client]:
    """A client of the session's broker, alone in its window."""
    yield Client(mqauth_broker)
    # Its last lines must not fall into the window of the next test.
    time.sleep(0.05)


def test_a_clean_close_is_no_drop(client: Client) -> None:
    """A connection that its client closes counts as closed."""
    client.connect().close()
    record = client.record(lambda record: record.closed > 0)
    assert (record.opened, record.closed, record.dropped.total()) == (1, 1, 0)


def test_a_cut_connection_is_a_drop(client: Client) -> None:
    """A connection whose client vanishes counts as dropped, not as closed."""
    connection = client.connect()
    linger = struct.pack("ii", 1, 0)
    connection.transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.transport.sock.close()
    record = client.record(lambda record: "client_vanished" in record.dropped)
    assert record.dropped.total() == 1
    assert record.closed == 0


def test_a_connection_that_the_broker_closes_is_a_drop(client: Client) -> None:
    """A connection closed by force counts once, though the log has several lines on it."""
    connection = client.connect()
    client.broker.ctl("close_all_connections", "because of a test")
    with pytest.raises(amqp.ConnectionForced):
        connection.drain_events(timeout=LOG_SECONDS)
    with contextlib.suppress(amqp.AMQPError, OSError):
        connection.close()
    record = client.record(lambda record: "connection_forced" in record.dropped)
    assert record.dropped.total() == 1


def test_a_refused_login_is_a_drop(client: Client) -> None:
    """A connection that never got past the login counts as dropped."""
    with pytest.raises(amqp.AccessRefused):
        client.connect(user="nobody", password="wrong")
    record = client.record(lambda record: "login_refused" in record.dropped)
    assert record.dropped.total() == 1


def test_a_channel_error_is_listed_and_no_drop(client: Client) -> None:
    """A closed channel is told apart from a closed connection."""
    connection = client.connect()
    with pytest.raises(amqp.NotFound):
        connection.channel().queue_declare("no-such-queue", passive=True)
    connection.close()
    record = client.record(lambda record: record.closed > 0)
    assert record.channel_errors.total() == 1
    assert record.dropped.total() == 0


def test_an_expired_credential_is_a_drop(client: Client, mqauth_issuer: OidcIssuer) -> None:
    """A connection closed because its token ran out counts, with that reason."""
    if client.broker.version.startswith("3."):
        # This version leaves the connection open and refuses what is done on it.
        connection = client.connect(user="", password=mqauth_issuer.mint(lifetime=300))
        connection.close()
        assert client.record(lambda record: record.closed > 0).dropped.total() == 0
        return
    connection = client.connect(user="", password=mqauth_issuer.mint(lifetime=8))
    with pytest.raises(amqp.ConnectionForced, match="credential expired"):
        connection.drain_events(timeout=LOG_SECONDS)
    with contextlib.suppress(amqp.AMQPError, OSError):
        connection.close()
    record = client.record(lambda record: "credential_expired" in record.dropped)
    assert record.dropped.total() == 1


def test_an_updated_secret_is_counted_per_connection(
    client: Client, mqauth_issuer: OidcIssuer
) -> None:
    """Rotations are those of the connection that was renewed most."""
    busy, idle = (
        client.connect(user="", password=mqauth_issuer.mint(lifetime=300)) for _ in range(2)
    )
    for connection, times in ((busy, 3), (idle, 1)):
        for _ in range(times):
            secret = mqauth_issuer.mint(lifetime=300)
            connection.send_method((10, 70), "Ss", (secret, "renewed"))
            # The answer, which py-amqp does not know.
            with pytest.raises(amqp.AMQPNotImplementedError):
                connection.drain_events(timeout=LOG_SECONDS)
        connection.close()
    record = client.record(lambda record: record.secret_updates.total() == 4)
    assert record.rotations == 3
    assert (
        len([moment for moment in updates(client.broker.log_text()) if moment >= client.begin]) == 4
    )


def test_a_connection_without_an_end_is_a_drop() -> None:
    """In a complete log, a connection that neither closed nor failed counts as dropped."""
    moment = datetime(2026, 11, 22, 9, tzinfo=UTC)
    log = (
        f"{moment:%Y-%m-%d %H:%M:%S.%f}+00:00 [info] <0.9.0> accepting AMQP connection "
        "127.0.0.1:40000 -> 127.0.0.1:5672\n"
    )
    begin, end = moment.timestamp() - 1, moment.timestamp() + 1
    assert dict(examine(log, begin=begin, end=end).dropped) == {"no_end_logged": 1}
    assert examine(log, begin=begin, end=end, complete=False).dropped.total() == 0


def test_what_lies_outside_the_window_does_not_count(client: Client) -> None:
    """An end after the window, such as a worker's at shutdown, is no drop."""
    connection = client.connect()
    end = time.time()
    connection.transport.sock.close()
    client.record(lambda record: record.dropped.total() > 0)
    log = client.broker.log_text()
    assert examine(log, begin=client.begin, end=end, complete=False).dropped.total() == 0
