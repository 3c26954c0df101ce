"""Kombu without Celery: an own process's connections, producers, consumers, queues and pools."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from kombu.pools import connections, producers, reset

import celery_mqauth
from mqauth.shared import forget_shared_sources
from tests.celery.processes import wait_until
from tests.celery.world import World

celery_mqauth.register_schemes()


@pytest.fixture
def connection(world: World) -> Iterator[kombu.Connection]:
    """A connection of this process with all of its options given inline."""
    issuer = world.issuer
    auth = {
        "issuer": issuer.issuer_url,
        "client_id": issuer.client_id,
        "client_secret": issuer.client_secret,
        "ca_file": str(world.sandbox.ca_file),
        "cache": str(world.cache),
    }
    with kombu.Connection(
        world.url(),
        ssl={"ca_certs": str(world.sandbox.ca_file)},
        transport_options={"auth": auth},
        connect_timeout=10,
    ) as connection:
        yield connection
    reset()
    forget_shared_sources()


def test_producer_and_consumer(world: World, connection: kombu.Connection) -> None:
    """Messages flow over one connection, never replaced, for longer than a token lives."""
    queue = kombu.Queue("plain", kombu.Exchange("plain"), routing_key="plain")
    received: list[int] = []

    def receive(body: int, message: kombu.Message) -> None:
        received.append(body)
        message.ack()

    raw = connection.connection
    with connection.Consumer(queue, callbacks=[receive]):
        producer = connection.Producer(exchange=queue.exchange, routing_key=queue.routing_key)
        sent = 0
        end = time.monotonic() + world.issuer.token_lifetime + 2
        while time.monotonic() < end or len(received) < sent:
            if time.monotonic() < end:
                producer.publish(sent)
                sent += 1
            connection.drain_events(timeout=20)
    assert received == list(range(sent))
    assert connection.connection is raw
    assert raw.connected
    assert world.dropped() == []


def test_simple_queue(world: World, connection: kombu.Connection) -> None:
    """A SimpleQueue that nobody touches while tokens come and go still works."""
    with connection.SimpleQueue("simple") as simple:
        simple.put({"number": 1})
        world.wait_for_renewals(5)
        simple.put({"number": 2})
        for number in (1, 2):
            message = simple.get(timeout=10)
            assert message.payload == {"number": number}
            message.ack()
    assert world.dropped() == []


def test_pools_share_one_fetch(world: World, connection: kombu.Connection) -> None:
    """Pooled connections and producers of several threads are all renewed by one fetch each."""
    before = world.issuer.fetches
    size = 4
    meeting = threading.Barrier(size)
    failures: list[Exception] = []

    def work() -> None:
        try:
            with producers[connection].acquire(block=True, timeout=10) as producer:
                meeting.wait(20)
                producer.publish("hello", routing_key="nobody")
                world.wait_for_renewals(4)
                producer.publish("again", routing_key="nobody")
        except Exception as error:  # noqa: BLE001 - shown below
            failures.append(error)

    with connections[connection].acquire(block=True) as pooled:
        pooled.connect()
        threads = [threading.Thread(target=work) for _ in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        assert pooled.connected
    assert world.dropped() == []

    def settled() -> bool:
        (status,) = world.sources_here()
        return status.fetches == world.issuer.fetches - before == status.rotations + 1

    (status,) = world.sources_here()
    assert status.connections >= size + 1
    # A fetch that is under way counts at the issuer and nowhere else yet.
    wait_until(settled, what="as many fetches as the issuer counted, and as rotations")


def test_idle_producer_notices_expiry_before_it_publishes(world: World, connection: Any) -> None:
    """After an outage past expiry, publishing says so and nothing is lost without a word."""
    producer = connection.Producer(routing_key="counted")
    queue = kombu.Queue("counted")
    queue(connection.default_channel).declare()
    producer.publish(1)
    with world.issuer.faults.during("error500"):
        (status,) = world.sources_here()
        wait_until(lambda: world.sources_here()[0].freshness == "expired", 30)
        with pytest.raises(connection.recoverable_connection_errors, match="ran out"):
            producer.publish(2)
    assert status.connections == 1
    with connection.clone() as again:
        again.ensure_connection(max_retries=60, interval_start=0.5, interval_step=0, timeout=30)
        again.Producer(routing_key="counted").publish(3)
        simple = again.SimpleQueue("counted")
        assert [simple.get(timeout=20).payload for _ in range(2)] == [1, 3]
        simple.close()
