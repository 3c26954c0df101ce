"""Connections whose user name changes with every credential: made before the old ones break.

ApsaraMQ's dynamic users, checked by the sandbox as the service does, on RabbitMQ 4 and 3.
"""

from __future__ import annotations

import base64
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from celery_mqauth.errors import LoginRefusedError
from celery_mqauth.replacement import RETRY_DELAY
from mqauth_sandbox import Sandbox

LIFETIME = 12.0
QUICK = {"renew_at": 0.1}
"""Renewal every second or two, with the rest of a life for a machine that stalls."""
ROTATIONS = 5
PROVIDER = "apsaramq-rrsa"
UNCLEAN = re.compile(r"\[(?:warning|error)\] <[\d.]+> (?:[Cc]losing|Error on) AMQP connection")

Connect = Callable[..., kombu.Connection]


@pytest.fixture(scope="module", params=["4", "3"], ids=lambda which: f"rabbitmq{which}")
def cloud(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A broker that takes the dynamic users of ApsaraMQ."""
    with Sandbox(broker=request.param, broker_auth="apsaramq") as running:
        yield running


@pytest.fixture
def options(cloud: Sandbox, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Options that sign in; sessions live a few seconds."""
    sts = cloud.alibaba_sts
    sts.session_lifetime = LIFETIME
    token = tmp_path / "token"
    token.write_text(sts.service_account_token())
    yield {
        "instance_id": cloud.apsaramq.instance_id,
        "role_arn": sts.role_arn,
        "oidc_provider_arn": sts.oidc_provider_arn,
        "token_file": str(token),
        "endpoint_url": sts.url,
        "ca_file": str(cloud.ca_file),
    }
    cloud.apsaramq.faults.reset()
    sts.session_lifetime = None


@pytest.fixture
def sign_in(cloud: Sandbox, options: dict[str, Any]) -> Iterator[Connect]:
    """Return a function that opens a connection; all are closed with the test."""
    with contextlib.ExitStack() as opened:

        def connect(
            *, tls: bool = False, auth: dict[str, Any] | None = None, **rest: Any
        ) -> kombu.Connection:
            transport_options = {"auth": {**options, **QUICK, **(auth or {})}, **rest}
            connection = kombu.Connection(
                cloud.broker_tls_url if tls else cloud.broker_url,
                ssl={"ca_certs": str(cloud.ca_file)} if tls else False,
                transport_options=transport_options,
            )
            opened.callback(connection.release)
            connection.connect()
            return connection

        yield connect


@pytest.fixture
def inbox(cloud: Sandbox) -> Iterator[kombu.Queue]:
    """An empty queue."""
    name = f"replacement-{time.monotonic_ns()}"
    broker = cloud.broker
    with kombu.Connection(
        f"amqp://localhost:{broker.amqp_port}//",
        userid=broker.admin_user,
        password=broker.admin_password,
        transport="pyamqp",
    ) as admin:
        queue = kombu.Queue(name, durable=True)
        queue(admin.default_channel).declare()
        yield queue
        queue(admin.default_channel).delete()


class Reader:
    """Consumes a queue, and keeps what it is told to keep."""

    def __init__(self, connection: kombu.Connection, queue: kombu.Queue) -> None:
        """Begin to consume."""
        self.connection = connection
        self.bodies: list[Any] = []
        self.redelivered: list[Any] = []
        self.kept: list[kombu.Message] = []
        self.keep: set[Any] = set()
        self.consumer = kombu.Consumer(
            connection.channel(), [queue], callbacks=[self._received], prefetch_count=50
        )
        self.consumer.consume()

    def _received(self, body: Any, message: kombu.Message) -> None:
        self.bodies.append(body)
        if message.delivery_info["redelivered"]:
            self.redelivered.append(body)
        if body in self.keep:
            self.kept.append(message)
        else:
            message.ack()

    def read(self, seconds: float = 0.02) -> None:
        """Read what comes within so long."""
        with contextlib.suppress(TimeoutError):
            self.connection.drain_events(timeout=seconds)

    def read_until(self, condition: Callable[[], object], limit: float = 30) -> None:
        """Read until `condition` holds."""
        end = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < end, f"not within {limit:g} s"
            self.read()


def _another_than(raw: Any, connection: kombu.Connection) -> Callable[[], bool]:
    return lambda: connection.connection is not raw


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_work_goes_on_over_five_rotations(
    cloud: Sandbox, sign_in: Connect, inbox: kombu.Queue, *, tls: bool
) -> None:
    """Publishing without retries and consuming lose, repeat and refuse nothing; ends are clean."""
    since = cloud.broker.log_size()
    signed_in = len(cloud.apsaramq.logins)
    sender, receiver = sign_in(tls=tls), sign_in(tls=tls, confirm_publish=True)
    confirming = sign_in(tls=tls, confirm_publish=True)
    reader = Reader(receiver, inbox)
    producers = [kombu.Producer(each.channel()) for each in (sender, confirming)]
    connections = (sender, receiver, confirming)
    first_expiry = sender.connection.credentials.local_expiry
    seen = [[each.connection] for each in connections]
    sent = 0
    # Not counted by what is fetched: a busy machine may skip a credential.
    while min(map(len, seen)) <= ROTATIONS or time.time() < first_expiry:
        assert time.time() < first_expiry + 40
        for producer in producers:
            producer.publish(sent, routing_key=inbox.name, retry=False)
            sent += 1
        reader.read()
        for raws, each in zip(seen, connections, strict=True):
            if each.connection is not raws[-1]:
                raws.append(each.connection)
    reader.read_until(lambda: len(reader.bodies) >= sent)
    assert sorted(reader.bodies) == list(range(sent))
    assert reader.redelivered == []
    for connection in connections:
        connection.release()
    logins = cloud.apsaramq.logins[signed_in:]
    assert {check.outcome for check in logins} == {"ok"}
    assert len(logins) >= 3 * ROTATIONS
    assert not UNCLEAN.search(cloud.broker.log_text(since))


def test_messages_are_acknowledged_where_they_came_from(
    cloud: Sandbox, sign_in: Connect, inbox: kombu.Queue
) -> None:
    """What is acknowledged two rotations later is not delivered again; then its link ends."""
    since = cloud.broker.log_size()
    receiver = sign_in()
    reader = Reader(receiver, inbox)
    reader.keep = {"early", "rejected"}
    producer = kombu.Producer(sign_in().channel())
    for body in ("early", "rejected", "other"):
        producer.publish(body, routing_key=inbox.name)
    reader.read_until(lambda: len(reader.bodies) == 3)
    first = receiver.connection
    fetched = cloud.alibaba_sts.fetches
    reader.read_until(lambda: cloud.alibaba_sts.fetches >= fetched + 3)
    reader.read_until(lambda: receiver.connection is not first)
    assert first.connected
    assert first in receiver.connection.predecessors
    reader.kept[0].ack()
    reader.kept[1].reject()
    reader.read_until(lambda: not receiver.connection.predecessors)
    assert not first.connected
    producer.publish("last", routing_key=inbox.name)
    reader.read_until(lambda: "last" in reader.bodies)
    assert reader.bodies == ["early", "rejected", "other", "last"]
    assert not UNCLEAN.search(cloud.broker.log_text(since))


def test_all_at_once_reaches_every_connection(sign_in: Connect, inbox: kombu.Queue) -> None:
    """Acknowledging everything up to the newest message includes those of earlier connections."""
    receiver = sign_in()
    reader = Reader(receiver, inbox)
    reader.keep = {"old", "new"}
    producer = kombu.Producer(sign_in().channel())
    producer.publish("old", routing_key=inbox.name)
    reader.read_until(lambda: reader.kept)
    first = receiver.connection
    reader.read_until(lambda: receiver.connection is not first)
    producer.publish("new", routing_key=inbox.name)
    reader.read_until(lambda: len(reader.kept) == 2)
    reader.kept[1].ack(multiple=True)
    reader.read_until(lambda: not receiver.connection.predecessors)
    receiver.release()
    later = Reader(sign_in(), inbox)
    later.read(0.5)
    assert later.bodies == []


def test_exclusive_queues_come_along(sign_in: Connect) -> None:
    """A queue of the connection's own is there again after a rotation, with its bindings."""
    receiver = sign_in()
    # Not one that is deleted with its last binding, which goes when the queue does.
    exchange = kombu.Exchange("amq.fanout", "fanout")
    queue = kombu.Queue(f"own-{time.monotonic_ns()}", exchange, exclusive=True, durable=False)
    reader = Reader(receiver, queue)
    producer = kombu.Producer(sign_in().channel(), exchange)
    for number in range(3):
        first = receiver.connection
        reader.read_until(_another_than(first, receiver))
        producer.publish(number)
        reader.read_until(lambda: len(reader.bodies) > number)  # noqa: B023 - used at once
    assert reader.bodies == [0, 1, 2]


def test_a_broker_that_refuses_now_is_asked_again(
    cloud: Sandbox, sign_in: Connect, inbox: kombu.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """While the new login fails the old connection works on, and is replaced once that works."""
    cloud.alibaba_sts.session_lifetime = 60
    sender = sign_in(auth={"renew_at": 0.02})
    reader = Reader(sign_in(auth={"renew_at": 0.02}), inbox)
    producer = kombu.Producer(sender.channel())
    producer.publish("before", routing_key=inbox.name)
    reader.read_until(lambda: reader.bodies == ["before"])
    first = sender.connection
    with cloud.apsaramq.faults.during("error500"):
        reader.read_until(lambda: first.superseded)
        producer.publish("meanwhile", routing_key=inbox.name, retry=False)
        assert sender.connection is first
    assert "could not be replaced" in caplog.text
    reader.read_until(lambda: time.monotonic() > first.replace_at, limit=RETRY_DELAY * 3)
    producer.publish("after", routing_key=inbox.name, retry=False)
    assert sender.connection is not first
    reader.read_until(lambda: len(reader.bodies) == 3)
    assert reader.bodies == ["before", "meanwhile", "after"]


def test_a_transaction_stays_where_it_is(
    cloud: Sandbox, sign_in: Connect, inbox: kombu.Queue
) -> None:
    """A connection with a transaction is not replaced under it."""
    cloud.alibaba_sts.session_lifetime = 60
    sender = sign_in(auth={"renew_at": 0.02})
    channel = sender.channel()
    channel.tx_select()
    first = sender.connection
    reader = Reader(sign_in(), inbox)
    reader.read_until(lambda: first.superseded)
    kombu.Producer(channel).publish("x", routing_key=inbox.name)
    channel.tx_commit()
    assert sender.connection is first
    reader.read_until(lambda: reader.bodies == ["x"])


def test_an_exclusive_consumer_stays_where_it_is(
    cloud: Sandbox, sign_in: Connect, inbox: kombu.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection whose consumer lets no other in goes on, without any attempt to replace it."""
    cloud.alibaba_sts.session_lifetime = 60
    receiver = sign_in(auth={"renew_at": 0.02})
    came: list[Any] = []
    channel = receiver.channel()
    channel.basic_consume(inbox.name, exclusive=True, no_ack=True, callback=came.append)
    first = receiver.connection

    def read_until(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end
            with contextlib.suppress(TimeoutError):
                receiver.drain_events(timeout=0.02)

    read_until(lambda: first.superseded)
    logins = len(cloud.apsaramq.logins)
    later = time.monotonic() + RETRY_DELAY * 1.5
    read_until(lambda: time.monotonic() > later)
    assert receiver.connection is first
    assert len(cloud.apsaramq.logins) == logins
    assert caplog.text.count("cannot be replaced") == 1
    kombu.Producer(channel).publish("x", routing_key=inbox.name, retry=False)
    read_until(lambda: came)


def test_nothing_is_replaced_under_a_callback(sign_in: Connect, inbox: kombu.Queue) -> None:
    """One that publishes while an earlier connection is read meets the newest credential later."""
    receiver = sign_in()
    channel = receiver.channel()
    stayed: list[bool] = []

    def answer(message: Any) -> None:
        now = receiver.connection
        now.superseded = True  # as if another credential had just come
        channel.basic_publish(amqp.Message("answer"), routing_key="nobody")
        stayed.append(receiver.connection is now)

    channel.basic_consume(inbox.name, no_ack=True, callback=answer)
    first = receiver.connection
    kombu.Producer(sign_in().channel()).publish("x", routing_key=inbox.name)
    end = time.monotonic() + 30
    # Until then nobody reads: the message is found where it came, once that is replaced.
    while not first.superseded or first.transport.nothing_to_read():
        assert time.monotonic() < end
        time.sleep(0.01)
    while not stayed or receiver.connection.predecessors:
        assert time.monotonic() < end
        with contextlib.suppress(TimeoutError):
            receiver.drain_events(timeout=0.02)
    assert stayed == [True]
    assert not first.connected
    assert receiver.connection.connected


def test_a_message_of_a_lost_connection_is_an_error(sign_in: Connect, inbox: kombu.Queue) -> None:
    """Acknowledging what came over a link that broke says so; the message comes again."""
    receiver = sign_in()
    reader = Reader(receiver, inbox)
    reader.keep = {"x"}
    kombu.Producer(sign_in().channel()).publish("x", routing_key=inbox.name)
    reader.read_until(lambda: reader.kept)
    first = receiver.connection
    reader.read_until(lambda: receiver.connection is not first)
    first.sock.shutdown(2)
    reader.read_until(lambda: len(reader.kept) == 2)
    assert reader.redelivered == ["x"]
    with pytest.raises(amqp.RecoverableConnectionError, match="is closed"):
        reader.kept[0].ack()
    reader.kept[1].ack()


@pytest.mark.parametrize(
    ("auth", "outcome"),
    [({"instance_id": "rabbitmq-other"}, "wrong_instance")],
)
def test_a_wrong_instance_is_refused_with_its_remedy(
    cloud: Sandbox, sign_in: Connect, auth: dict[str, Any], outcome: str
) -> None:
    """The first login that the broker refuses says what to check."""
    with pytest.raises(LoginRefusedError, match="instance_id"):
        sign_in(auth=auth)
    assert cloud.apsaramq.logins[-1].outcome == outcome


def test_no_secret_stands_in_the_log(
    cloud: Sandbox, sign_in: Connect, inbox: kombu.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the session's token nor the password shows in what is logged."""
    caplog.set_level("DEBUG")
    receiver = sign_in()
    reader = Reader(receiver, inbox)
    first = receiver.connection
    reader.read_until(lambda: receiver.connection is not first)
    for raw in (first, receiver.connection):
        token = base64.b64decode(raw.credentials.username).decode().rpartition(":")[2]
        for secret in (token, raw.credentials.password.reveal(), raw.credentials.username):
            assert secret not in caplog.text
    assert "replaced" in caplog.text
