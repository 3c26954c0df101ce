"""The soak on Kafka from end to end, in half a minute instead of two and a half."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mqauth_sandbox.kafka.prepare import KafkaInstallation
from workloads import soak
from workloads.console import Console
from workloads.kafka_soak import KafkaPlan, KafkaVerdict, run_kafka_soak

CLEAN = KafkaVerdict(
    tasks=2,
    done=2,
    lost=0,
    repeated=0,
    publish_errors=0,
    worker_errors=0,
    worker_died=False,
    reauthentications=3,
    rounds=1,
    refusals=0,
    tokens=1,
    idle_disconnects=0,
    idle_received=True,
    seconds=9.0,
)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_tasks_run_while_all_clients_sign_in_again(
    mqauth_kafka: KafkaInstallation, tmp_path: Path
) -> None:
    """Nothing is lost, repeated or refused over six logins of every connection."""
    plan = KafkaPlan(ttl=9.0, max_reauth=4.0, tasks=350, rate=14.0)
    verdict = run_kafka_soak(plan, Console(quiet=True), tmp_path / "run")
    assert verdict.clean, verdict
    assert (verdict.tasks, verdict.done) == (357, 357)
    assert verdict.rounds >= 6
    assert verdict.reauthentications >= 4 * 6, "producer, worker and its children, idle consumer"


@pytest.mark.parametrize(
    "change",
    [
        {"lost": 1},
        {"repeated": 1},
        {"publish_errors": 1},
        {"worker_errors": 1},
        {"worker_died": True},
        {"refusals": 1},
        {"idle_disconnects": 1},
        {"idle_received": False},
        {"tasks": 0},
        {"rounds": 0},
        {"reauthentications": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_verdict_can_fail(change: dict[str, Any]) -> None:
    """Whatever goes wrong, or shows nothing, is not clean."""
    assert CLEAN.clean
    assert not replace(CLEAN, **change).clean


@pytest.mark.parametrize("option", ["--ttl", "--minutes"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_seconds_without_an_end_are_refused(option: str, value: str) -> None:
    """Neither the life of a token nor the length of a run is `nan` or endless."""
    ran = CliRunner().invoke(soak.main, ["--system", "kafka", option, value])
    assert ran.exit_code == 2
    assert "no finite number above 0" in ran.output
