"""A process with open Kafka clients forks, as prefork does: children live, and connect anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from mqauth_sandbox import KafkaSandbox
from mqauth_sandbox.kafka.prepare import KafkaInstallation

SCENARIO = Path(__file__).with_name("kafka_fork_scenario.py")


def test_a_child_leaves_its_parents_clients_alone(mqauth_kafka: KafkaInstallation) -> None:
    """However a child ends, and whatever it does before, it neither crashes nor hangs."""
    with KafkaSandbox() as world:
        options = world.oauth2_options.items()
        url = f"mqauth-kafka://oauth2@localhost:{world.broker.sasl_port}"
        done = subprocess.run(
            [sys.executable, "-W", "error", str(SCENARIO), url, "forked"],
            env=os.environ | {f"MQAUTH_OAUTH2_{name.upper()}": value for name, value in options},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "ends": 0,
        "collects": 0,
        "releases": 0,
        "connects": 0,
        "publishes": 0,
        "acknowledges": 0,
        "parent reads": ["child", "parent again"],
    }
