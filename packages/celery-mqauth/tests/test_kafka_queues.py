"""What Kombu promises of queues, on topics of a real broker."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
from confluent_kafka import Producer

from celery_mqauth.errors import BrokerUnreachableError
from celery_mqauth.kafka.errors import NotAcceptedError, NotConfirmedError
from mqauth_sandbox import KafkaSandbox
from mqauth_sandbox.kafka.prepare import KafkaInstallation

LIMIT = 20.0

Connect = Callable[..., kombu.Connection]

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def world(mqauth_kafka: KafkaInstallation) -> Iterator[KafkaSandbox]:
    """A broker."""
    with KafkaSandbox() as running:
        yield running


@pytest.fixture
def connect(world: KafkaSandbox) -> Iterator[Connect]:
    """Return a function that makes a Kombu connection, not open yet; all end with the test."""
    with contextlib.ExitStack() as opened:

        def make(**options: Any) -> kombu.Connection:
            made = kombu.Connection(
                f"mqauth-kafka://oauth2@localhost:{world.broker.sasl_port}",
                transport_options={"auth": world.oauth2_options, **options},
            )
            opened.callback(made.release)
            return made

        yield make


@pytest.fixture
def topic() -> str:
    """The name of a topic that nobody has used."""
    return f"queue-{next(_numbers)}"


def test_what_is_not_kombus_is_passed_over(
    world: KafkaSandbox, connect: Connect, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else's message is an error in the log, once, and holds nothing up."""
    first = connect()
    queue = first.SimpleQueue(topic)
    queue.put("before")
    foreign = [b"not json", None, b"[1,2]", b"5", b'{"a":1}', b"\xff", b'{"properties":{}}']
    writer = Producer({**world.broker.admin_config, "log_level": 0})
    for text in foreign:
        writer.produce(topic, text)
    writer.flush(LIMIT)
    queue.put("after")
    before, after = (queue.get(timeout=LIMIT) for _ in range(2))
    assert (before.payload, after.payload) == ("before", "after")
    said = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in said] == [
        f"the message at offset {offset} of partition 0 in the topic '{topic}' is not one of "
        "Kombu's, and is passed over (let nobody else write there)"
        for offset in range(1, len(foreign) + 1)
    ]
    after.ack()
    first.release()
    # What was not acknowledged comes again, with all that stands behind it.
    caplog.clear()
    second = connect()
    queue = second.SimpleQueue(topic)
    for payload in ("before", "after"):
        message = queue.get(timeout=LIMIT)
        assert message.payload == payload
        message.ack()
    second.release()
    caplog.clear()
    with pytest.raises(queue.Empty):
        connect().SimpleQueue(topic).get(timeout=5)
    assert [record for record in caplog.records if record.levelno == logging.ERROR] == []


@pytest.mark.parametrize("way", ["get", "consume"])
def test_what_needs_no_acknowledgement_comes_once(connect: Connect, topic: str, way: str) -> None:
    """A message that is read with `no_ack` does not come again over the next connection."""
    first = connect()
    first.SimpleQueue(topic).put("once")
    channel: Any = first.default_channel
    got: list[Any] = []
    if way == "consume":
        queue = kombu.Queue(topic, channel=channel)
        with kombu.Consumer(channel, [queue], on_message=got.append, no_ack=True):
            first.drain_events(timeout=LIMIT)
    else:
        deadline = time.monotonic() + LIMIT
        while not got and time.monotonic() < deadline:
            got += filter(None, [channel.basic_get(topic, no_ack=True)])
    assert [message.payload for message in got] == ["once"]
    first.release()
    queue = connect().SimpleQueue(topic)
    queue.put("another")
    assert queue.get(timeout=LIMIT).payload == "another"


def test_busy_topics_do_not_wait_for_idle_ones(connect: Connect, topic: str) -> None:
    """A message is not kept from a consumer of several topics by those without messages."""
    opened = connect()
    queues = [
        kombu.Queue(f"{topic}-{number}", routing_key=f"{topic}-{number}") for number in "abcd"
    ]
    for number in range(8):
        opened.default_channel._put(queues[0].name, message_of(opened, number))
    arrived: list[float] = []

    def note(body: Any, message: Any) -> None:
        message.ack()
        arrived.append(time.monotonic())

    with opened.Consumer(queues, callbacks=[note]):
        while len(arrived) < 8:
            opened.drain_events(timeout=LIMIT)
    assert arrived[-1] - arrived[0] < 8


def test_a_purge_passes_over_what_waits(connect: Connect, topic: str) -> None:
    """What was sent before a purge is not delivered, and what is sent after it is."""
    first = connect()
    queue = first.SimpleQueue(topic)
    for number in range(3):
        queue.put(number)
    purged = connect()
    assert purged.default_channel.queue_purge(topic) == 3
    assert purged.default_channel.queue_purge(topic) == 0
    assert purged.default_channel.queue_purge(f"{topic}-nobody-has-made") == 0
    queue.put("after")
    assert queue.get(timeout=LIMIT).payload == "after"


def test_a_consumer_purges_its_own_topic(
    connect: Connect, topic: str, eventually: Callable[..., None]
) -> None:
    """What it has in hand stays its own; others are told that it consumes."""
    opened = connect()
    queue = opened.SimpleQueue(topic)
    for number in range(3):
        queue.put(number)
    message = queue.get(timeout=LIMIT)
    with pytest.raises(NotConfirmedError, match=r"others consume it.*stop its workers first"):
        connect().default_channel.queue_purge(topic)
    assert queue.clear() == 2
    queue.put("after")
    after = queue.get(timeout=LIMIT)
    assert after.payload == "after"
    message.ack()
    after.ack()
    eventually(lambda: queue.qsize() == 0, "a commit", LIMIT)


def test_what_waits_is_counted(
    connect: Connect, topic: str, eventually: Callable[..., None]
) -> None:
    """The size is what has not been acknowledged, before the first acknowledgement too."""
    queue = connect().SimpleQueue(topic)
    for number in range(3):
        queue.put(number)
    message = queue.get(timeout=LIMIT)
    assert queue.qsize() == 3
    message.ack()
    eventually(lambda: queue.qsize() == 2, "a commit", LIMIT)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a topic", {}, "letters, digits"),
        ("{}", {"num_partitions": 0}, "num_partitions"),
        ("{}", {"replication_factor": 3}, "as many as there are brokers"),
        ("{}", {"topic_config": {"no.such.setting": "1"}}, "topic_config"),
    ],
)
def test_a_topic_that_cannot_be_is_final(
    *, connect: Connect, topic: str, name: str, options: dict[str, Any], words: str
) -> None:
    """What no attempt would change is said at once, with its remedy."""
    with pytest.raises(NotAcceptedError, match=words), connect(**options).Producer() as producer:
        producer.publish(
            "text",
            routing_key=topic,
            declare=[kombu.Queue(name.format(topic))],
            retry=True,
            retry_policy={"max_retries": 3},
        )


@pytest.mark.parametrize("settings", [{}, {"message.max.bytes": 9_000_000}], ids=["own", "broker"])
def test_a_message_that_is_too_large_is_final(
    connect: Connect, topic: str, settings: dict[str, int]
) -> None:
    """Whether librdkafka or the broker refuses it, it is not tried again."""
    opened = connect(kafka_producer_config=settings)
    with (
        pytest.raises(NotAcceptedError, match=rf"'{topic}'.*send less"),
        opened.Producer() as producer,
    ):
        producer.publish(
            "x" * 2_000_000, routing_key=topic, retry=True, retry_policy={"max_retries": 3}
        )


def message_of(connection: kombu.Connection, body: object) -> dict[str, Any]:
    """Return a message as Kombu's producers make it."""
    channel: Any = connection.default_channel
    message = channel.prepare_message(
        f"{body}", content_type="text/plain", content_encoding="utf-8"
    )
    channel._inplace_augment_message(message, "", "")
    return dict(message)


def test_a_queue_is_deleted_in_time_without_its_broker(
    world: KafkaSandbox,
    connect: Connect,
    topic: str,
    eventually: Callable[..., None],
    kafka_clients: Callable[[], int],
) -> None:
    """The consumer, which waits for its broker, is left behind, until that is there again."""
    gc.collect()
    # One that an earlier test left to end with its broker's return would be counted, and then not.
    eventually(lambda: not kafka_clients(), "an end of earlier clients", 60)
    opened = connect(connect_limit=5)
    queue = opened.SimpleQueue(topic)
    queue.put("confirmed")
    message = queue.get(timeout=LIMIT)
    world.broker.kill()
    message.ack()
    begun = time.monotonic()
    try:
        with pytest.raises(BrokerUnreachableError, match=topic):
            opened.default_channel._delete(topic)
        assert time.monotonic() - begun < LIMIT
        opened.release()
        assert kafka_clients(), "nothing was left behind"
    finally:
        world.broker.start()
    eventually(lambda: not kafka_clients(), "an end of all clients", 60)
