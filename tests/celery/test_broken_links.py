"""Brokers that restart, links that break or stall, processes that stand still."""

from __future__ import annotations

import signal

from tests.celery.broker_lines import VANISHED
from tests.celery.processes import wait_until
from tests.celery.world import World


def test_broker_restart(world: World) -> None:
    """Worker and producer find back to a broker that was restarted, and rotate there."""
    worker = world.worker()
    producer = world.producer()
    world.journal.wait_for("end", 3)
    world.broker.restart()
    back = world.broker.log_size()
    sent = len(world.journal.records("sent"))
    world.journal.wait_for("sent", sent + 5, timeout=60)
    world.wait_for_renewals(3, since=back)
    producer.stop()
    world.journal.wait_for_ends(world.journal.ids("sent"), 60)
    # Kombu leaves the first new connection of a producer alone and opens a second, for any scheme.
    assert world.dropped(back, besides=VANISHED) == []
    assert worker.exit_code is None


def test_link_is_cut(world: World) -> None:
    """A worker whose link is cut comes back by itself with a fresh login, and rotates on."""
    link = world.sandbox.proxy(world.broker.amqps_port)
    world.worker(configuration=world.configuration(broker_url=world.url(port=link.port)))
    world.wait_for_renewals(1)
    assert link.cut() > 0
    task = world.send("add", 1, 2)
    world.journal.wait_for_ends([task], 60)
    back = world.broker.log_size()
    world.wait_for_renewals(3, since=back)
    assert world.dropped(back) == []
    assert world.journal.not_exactly_once() == {}


def test_link_stalls_for_a_while(world: World) -> None:
    """A link without a byte over a whole rotation costs nothing if it comes back in time."""
    world.issuer.token_lifetime = 12.0
    link = world.sandbox.proxy(world.broker.amqps_port)
    worker = world.worker(configuration=world.configuration(broker_url=world.url(port=link.port)))
    fetches = world.issuer.fetches
    link.stall()
    assert world.issuer.wait_for_fetches(fetches + 1, 20)
    task = world.send("add", 1, 2)
    link.resume()
    world.journal.wait_for_ends([task])
    world.wait_for_renewals(2)
    assert world.dropped() == []
    assert worker.lines_with("ERROR") == []


def test_link_stalls_past_expiry(world: World) -> None:
    """After a stall that outlived the credential, the worker signs in anew and works on.

    The link stalls just as the worker begins to consume, which once left it deaf for ever.
    """
    link = world.sandbox.proxy(world.broker.amqps_port)
    worker = world.worker(configuration=world.configuration(broker_url=world.url(port=link.port)))
    link.stall()
    _wait_for_expiry(world)
    link.resume()
    task = world.send("add", 1, 2)
    world.journal.wait_for_ends([task], 60)
    back = world.broker.log_size()
    world.wait_for_renewals(2, since=back)
    assert world.dropped(back) == []
    assert worker.exit_code is None
    assert world.journal.not_exactly_once() == {}


def test_suspended_past_expiry(world: World) -> None:
    """Worker and producer, suspended until after their credentials ran out, wake up and go on."""
    worker = world.worker()
    producer = world.producer()
    world.journal.wait_for("end", 3)
    for process in (producer, worker):
        process.send_to_group(signal.SIGSTOP)
    _wait_for_expiry(world)
    for process in (worker, producer):
        process.send_to_group(signal.SIGCONT)
    sent = len(world.journal.records("sent"))
    world.journal.wait_for("sent", sent + 5, timeout=60)
    back = world.broker.log_size()
    world.wait_for_renewals(2, since=back)
    producer.stop()
    world.journal.wait_for_ends(world.journal.ids("sent"), 60)
    assert world.dropped(back) == []
    assert worker.exit_code is None
    assert world.journal.records("publish_error") == []


def _wait_for_expiry(world: World) -> None:
    """Wait until the broker has closed a connection because its credential ran out."""
    start = world.broker.log_size()
    wait_until(
        lambda: any("expired" in end for end in world.dropped(start)),
        world.issuer.token_lifetime + 20,
        "the broker closes connections whose credential has expired",
    )
