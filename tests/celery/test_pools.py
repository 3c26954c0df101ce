"""A worker of every pool outlives its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from mqauth_sandbox import Sandbox
from tests.celery.processes import Worker
from tests.celery.world import World

POOLS = ("prefork", "threads", "solo", "gevent", "eventlet")
TOKEN_LIFETIME = 12.0
LONGER_THAN_A_TOKEN = 13.0
RENEWALS = 4


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of one worker and of a producer beside it, before both were stopped."""

    world: World
    worker: Worker
    dropped: list[str]


@pytest.fixture(scope="module")
def runs(
    mqauth_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Run]]:
    """A run of each pool, all at the same time, each in a virtual host of its own."""
    lifetime = mqauth_sandbox.issuer.token_lifetime
    worlds = {
        pool: World(mqauth_sandbox, tmp_path_factory.mktemp(pool), token_lifetime=TOKEN_LIFETIME)
        for pool in POOLS
    }
    try:
        yield run(worlds)
    finally:
        for world in worlds.values():
            world.close()
        mqauth_sandbox.issuer.token_lifetime = lifetime


def run(worlds: dict[str, World]) -> dict[str, Run]:
    """Have each pool run a task longer than its token, one that publishes, and short ones."""
    workers = {
        pool: world.worker(
            pool=pool,
            # With few slots Celery 5.4's green pools fall behind: they take as many tasks as they
            # have slots every 2 s, whoever signs in.
            concurrency=10 if pool in ("gevent", "eventlet") else 2,
            configuration=world.configuration(task_acks_late=True),
            ready=False,
        )
        for pool, world in worlds.items()
    }
    for worker in workers.values():
        worker.wait_until_ready()
    ready = next(iter(worlds.values())).broker.log_size()
    sent = {
        pool: [world.send("hold", LONGER_THAN_A_TOKEN), world.send("forward", 3)]
        for pool, world in worlds.items()
    }
    producers = [world.producer("--interval", "0.3", "--results") for world in worlds.values()]
    for world in worlds.values():
        world.wait_for_renewals(RENEWALS, since=ready)
    for pool, world in worlds.items():
        world.journal.wait_for_ends(sent[pool], 60)
    for producer in producers:
        producer.stop()
    return {
        pool: Run(world=world, worker=workers[pool], dropped=world.dropped())
        for pool, world in worlds.items()
    }


@pytest.mark.timeout(240)
@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_renews_in_place(runs: dict[str, Run], pool: str) -> None:
    """Tasks, one of them longer than a token's life, run once each and no connection drops."""
    assess(runs[pool])


def test_prefork_renews_in_place_on_the_oldest_broker(world_on: Callable[[str], World]) -> None:
    """RabbitMQ 3.10 takes renewals as 4.3 does."""
    world = world_on("3")
    world.issuer.token_lifetime = TOKEN_LIFETIME
    assess(run({"prefork": world})["prefork"])


def assess(run: Run) -> None:
    """Check that everything was done once and nothing went wrong."""
    journal = run.world.journal
    assert run.dropped == []
    assert journal.records("publish_error") == []
    assert len(journal.records("sent")) == len(journal.records("result")) > 0
    assert all(record.facts["right"] for record in journal.records("result"))
    assert run.worker.stop() == 0
    assert journal.not_exactly_once() == {}
