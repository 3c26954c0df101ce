"""Tasks and children that end in the middle of a rotation."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.celery.broker_lines import VANISHED
from tests.celery.processes import wait_until
from tests.celery.world import World


def test_time_limits(world: World) -> None:
    """Soft and hard limits end their tasks only; the worker's connections stay and renew."""
    worker = world.worker(concurrency=3, configuration=world.configuration(task_acks_late=True))
    connected = world.broker.log_size()
    soft = world.send("hold", 60.0, soft_time_limit=5)
    hard = world.send("hold", 60.0, time_limit=6)
    long = world.send("hold", 9.5)
    world.journal.wait_for_ends([long])
    world.wait_for_renewals(1)
    after = world.send("add", 1, 2)
    world.journal.wait_for_ends([after])

    assert world.journal.ids("soft_limit") == {soft: 1}
    worker.wait_for_line(f"Hard time limit (6s) exceeded for tests.celery.sample_app.hold[{hard}]")
    starts = world.journal.ids("start")
    assert starts == {soft: 1, hard: 1, long: 1, after: 1}
    # The child that was killed may have had a connection of its own.
    assert world.dropped(connected, besides=VANISHED) == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("broker", ["default", "3"])
def test_warm_shutdown(world_on: Callable[[str], World], broker: str) -> None:
    """SIGTERM in mid-rotation: running tasks end, are acknowledged, and nothing runs twice."""
    world = world_on(broker)
    world.issuer.token_lifetime = 10.0
    configuration = world.configuration(task_acks_late=True)
    worker = world.worker(concurrency=2, configuration=configuration)
    tasks = [world.send("hold", 11.0), world.send("hold", 11.0)]
    waiting = world.send("add", 1, 2)
    world.journal.wait_for("start", 2)
    renewals_before = worker.lines_with("renewed, valid for")
    worker.send(signal.SIGTERM)
    worker.wait_for_line("Warm shutdown")
    assert worker.wait() == 0
    assert len(worker.lines_with("renewed, valid for")) > len(renewals_before)

    assert world.journal.ids("end") == dict.fromkeys(tasks, 1)
    assert world.journal.ids("start") == dict.fromkeys(tasks, 1)
    assert world.dropped(besides=VANISHED) == []
    # Whatever the broker still has for somebody, it gives to the next worker.
    world.worker(concurrency=2, configuration=configuration)
    world.journal.wait_for_ends([waiting], 100)
    wait_until(lambda: world.messages("celery") == 0, what="nothing is left in the queue")
    assert world.journal.ids("start") == dict.fromkeys([*tasks, waiting], 1)


def test_children_are_replaced(world: World) -> None:
    """Children that retire after two tasks give way to new ones, whatever rotation is going on."""
    configuration = world.configuration(worker_max_tasks_per_child=2, task_acks_late=True)
    world.worker(concurrency=2, configuration=configuration)
    producer = world.producer("--interval", "0.2", "--results", configuration=configuration)
    world.wait_for_renewals(4)
    world.journal.wait_for("end", 12)
    producer.stop()

    assert len({record.pid for record in world.journal.records("start")}) >= 5
    assert world.journal.not_exactly_once() == {}
    assert all(record.facts["right"] for record in world.journal.records("result"))
    assert world.dropped(besides=VANISHED) == []


def test_cold_start_while_the_issuer_is_slow(world: World) -> None:
    """A worker whose first token takes seconds starts once it has it, with one request."""
    before = world.issuer.requests
    with world.issuer.faults.during("slow", delay=1.5):
        worker = world.worker(ready=False)
        assert world.issuer.wait_for_requests(before + 1, 30)
    worker.wait_until_ready()
    done = world.send("add", 1, 2)
    world.journal.wait_for_ends([done])
    assert world.journal.not_exactly_once() == {}
    assert worker.lines_with("ERROR") == []
