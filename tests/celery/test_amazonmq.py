"""Amazon MQ's configuration of RabbitMQ with IAM, and a worker that signs in with an AWS role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mqauth_sandbox import Sandbox
from mqauth_sandbox.sandbox import AWS_EXAMPLE_ALIAS_SCOPES
from tests.celery.canary import Canary
from tests.celery.world import World

TOKEN_LIFETIME = 10.0
"""Seconds. AWS gives none for less than a minute, and five rotations would take minutes."""
ROTATIONS = 5


def configuration(world: World) -> dict[str, object]:
    """Return Celery's configuration for AMQPS with an AWS role."""
    return world.configuration(
        broker_url=world.url(who="aws-iam"),
        broker_transport_options={"auth": {"duration": 60}},
        task_acks_late=True,
        worker_log_format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )


@pytest.fixture(params=["4", "3"])
def amazon_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A broker configured as AWS documents it, with an alias that suffices for Celery.

    RabbitMQ 3.10 takes aliases from advanced.config alone, and knows no `scope_prefix`.
    """
    with Sandbox(broker=request.param, broker_auth="amazonmq") as sandbox:
        sandbox.sts.token_lifetime_override = TOKEN_LIFETIME
        world = World(sandbox, tmp_path)
        yield world
        world.close()


def test_worker_with_an_aws_role(amazon_world: World) -> None:
    """A worker signs in with tokens of STS and renews them in place; nothing is given away."""
    world = amazon_world
    settings = configuration(world)
    worker = world.worker(configuration=settings, loglevel="DEBUG")
    producer = world.producer("--interval", "0.3", "--results", configuration=settings)
    long = world.send("hold", 8.0)
    world.wait_for_renewals(ROTATIONS)
    world.journal.wait_for_ends([long])
    producer.stop()

    assert world.dropped() == []
    assert world.journal.records("publish_error") == []
    assert all(record.facts["right"] for record in world.journal.records("result"))
    assert world.journal.not_exactly_once() == {}
    assert f"user '{world.sandbox.sts.role_arn}'" in world.broker_log()
    assert worker.lines_with("urllib3", "POST /"), "without requests this log proves little"
    assert Canary([world.sandbox.sts.secret_access_key]).found_in(worker.output) == []


def test_aws_s_own_example_is_not_enough_for_celery(tmp_path: Path) -> None:
    """With the scopes of AWS's example the worker ends at once, naming the topic it may not use."""
    with Sandbox(
        broker="4", broker_auth="amazonmq", alias_scopes=AWS_EXAMPLE_ALIAS_SCOPES
    ) as sandbox:
        world = World(sandbox, tmp_path)
        worker = world.worker(configuration=configuration(world), ready=False)
        assert worker.wait(60) != 0
        assert worker.lines_with("ACCESS_REFUSED", "topic", "celeryev")
        assert not worker.ready
        world.close()
