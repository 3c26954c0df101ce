"""A worker on a broker whose users change with every credential, as ApsaraMQ's dynamic users do."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from mqauth_sandbox import Broker, Sandbox
from tests.celery.canary import Canary
from tests.celery.processes import wait_until
from tests.celery.world import World

LIFETIME = 20.0
"""Seconds that a session lives: connections are replaced every 4 to 5 s."""
ROTATIONS = 5
LONG = 9.0


@pytest.mark.parametrize("which", ["4", "3"])
def test_a_worker_outlives_its_users(which: str, tmp_path: Path) -> None:
    """Over five rotations tasks that take two of them run once each and no connection drops."""
    with Sandbox(broker=which, broker_auth="apsaramq") as sandbox:
        sandbox.alibaba_sts.session_lifetime = LIFETIME
        world = World(sandbox, tmp_path)
        settings = world.configuration(
            broker_url=world.url(who="apsaramq-rrsa"), task_acks_late=True
        )
        worker = world.worker(configuration=settings, concurrency=3)
        first = sandbox.alibaba_sts.fetches
        producer = world.producer("--interval", "0.3", "--results", configuration=settings)
        long = [world.send("hold", LONG)]
        wait_until(lambda: sandbox.alibaba_sts.fetches >= first + 3, 60, "three rotations")
        long.append(world.send("hold", LONG))
        wait_until(lambda: sandbox.alibaba_sts.fetches >= first + ROTATIONS, 60, "all rotations")
        world.journal.wait_for_ends(long)
        producer.stop()

        first_key = sandbox.apsaramq.logins[0].access_key_id
        assert first_key is not None
        assert first_key not in keys_of_consumers(sandbox.broker, world.vhost)
        assert world.dropped() == []
        assert world.journal.records("publish_error") == []
        assert len(world.journal.records("sent")) == len(world.journal.records("result")) > 0
        pinged = world.celery(
            "inspect", "--timeout", "5", "ping", broker_url=settings["broker_url"]
        )
        assert pinged.returncode == 0, pinged.stderr
        assert worker.stop() == 0
        assert world.journal.not_exactly_once() == {}
        assert {check.outcome for check in sandbox.apsaramq.logins} == {"ok"}
        token = Path(sandbox.environment()["ALIBABA_CLOUD_OIDC_TOKEN_FILE"]).read_text().strip()
        assert Canary([token]).found_in(worker.output) == []
        world.close()


def keys_of_consumers(broker: Broker, vhost: str) -> list[str]:
    """Return the access keys in the user names of the connections that consume something."""
    # By one command: between two of them connections may be replaced.
    listed = broker.ctl(
        "list_channels", "-p", vhost, "user", "consumer_count", "--formatter", "json"
    )
    users = [row["user"] for row in json.loads(listed) if row["consumer_count"]]
    assert users
    return [base64.b64decode(user).decode().split(":")[2] for user in users]
