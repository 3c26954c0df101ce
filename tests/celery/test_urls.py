"""Every way in which Celery can be told where its broker is."""

from __future__ import annotations

from tests.celery.processes import wait_until
from tests.celery.world import World


def test_separate_urls_for_reading_and_writing(world: World) -> None:
    """Consumers use `broker_read_url`, producers `broker_write_url`, and both are renewed."""
    reading = world.sandbox.proxy(world.broker.amqps_port)
    writing = world.sandbox.proxy(world.broker.amqps_port)
    configuration = world.configuration(
        broker_url=None,
        broker_read_url=world.url(port=reading.port),
        broker_write_url=world.url(port=writing.port),
    )
    world.worker(configuration=configuration)
    assert reading.links > 0
    only_worker = writing.links
    producer = world.producer("--results", configuration=configuration)
    wait_until(lambda: writing.links > only_worker, what="the producer writes through its URL")
    world.wait_for_renewals(3)
    producer.stop()

    assert world.dropped() == []
    assert world.journal.records("publish_error") == []
    assert all(record.facts["right"] for record in world.journal.records("result"))
    assert world.journal.not_exactly_once() == {}


def test_failover_to_the_next_broker_and_back(world: World) -> None:
    """Worker and producer go on through the second URL of a list when the first host is gone."""
    first = world.sandbox.proxy(world.broker.amqps_port)
    second = world.sandbox.proxy(world.broker.amqps_port)
    configuration = world.configuration(
        broker_url=";".join(world.url(port=proxy.port) for proxy in (first, second)),
        broker_failover_strategy="round-robin",
    )
    world.worker(configuration=configuration)
    producer = world.producer(configuration=configuration)
    world.journal.wait_for("end", 5)
    assert second.links == 0

    first.refuse(True)
    first.cut()
    wait_until(lambda: second.links > 0, what="somebody moved to the second URL")
    sent = len(world.journal.records("sent"))
    world.journal.wait_for("sent", sent + 5, timeout=60)
    after_failover = world.broker.log_size()
    world.wait_for_renewals(2)
    producer.stop()

    world.journal.wait_for_ends(world.journal.ids("sent"), 60)
    assert world.dropped(after_failover) == []
