"""How often an issuer is asked, counted by the issuer itself."""

from __future__ import annotations

from typing import Any

from tests.celery.world import World

CHILDREN = 16
WEB_PROCESSES = 4
ROTATIONS = 3
TOKEN_LIFETIME = 20.0


def test_one_fetch_per_rotation_and_host(world: World) -> None:
    """16 children that publish and 4 web processes share one fetch per rotation."""
    failed = world.issuer.requests - world.issuer.fetches
    start(world, children=CHILDREN)
    assert fetches_while_rotating(world) <= ROTATIONS + 1
    assert world.issuer.requests - world.issuer.fetches == failed


def test_one_fetch_per_rotation_and_process_without_cache(world: World) -> None:
    """With the cache off, each process that has a connection fetches once per rotation."""
    children = 3
    start(world, children=children, MQAUTH_CACHE="off")
    processes = 1 + children + WEB_PROCESSES
    fetched = fetches_while_rotating(world)
    # Each is at another point of its rotation.
    assert processes * (ROTATIONS - 1.5) <= fetched <= processes * (ROTATIONS + 1)


def fetches_while_rotating(world: World) -> int:
    """Return how many tokens the issuer gave out in so many rotations, give or take one."""
    before, since = world.issuer.fetches, world.broker.log_size()
    world.wait_for_renewals(ROTATIONS, since=since)
    fetched = world.issuer.fetches - before
    assert world.dropped() == []
    return fetched


def start(world: World, *, children: int, **variables: str) -> None:
    """Start a worker all of whose children have published, and the web processes."""
    world.issuer.token_lifetime = TOKEN_LIFETIME
    world.worker(concurrency=children, variables=variables)
    producers = [
        world.producer("--interval", "0.5", name=f"web{number}", variables=variables)
        for number in range(WEB_PROCESSES)
    ]
    tasks: list[Any] = [world.send("forward_and_wait", 6.0) for _ in range(children)]
    world.journal.wait_for_ends(tasks, timeout=60)
    assert len({record.pid for record in world.journal.records("forwarded")}) == children
    world.journal.wait(
        lambda journal: (
            {p.pid for p in producers} <= {record.pid for record in journal.records("sent")}
        ),
    )
