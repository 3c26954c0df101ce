"""Run by test_kafka_forks.py: a process with open Kafka clients forks. Prints one JSON object.

Arguments: broker URL, topic. What a child does is timed and bounded by its parent.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import amqp
import kombu
import pytest

import celery_mqauth

LIMIT = 30.0
POLICY = {"interval_start": 0, "max_retries": 3}


class Parent:
    """A process that has published and received, and is about to receive more."""

    def __init__(self, url: str, topic: str) -> None:
        """Have an admin client, a producer and a consumer."""
        self.url, self.topic = url, topic
        self.connection = kombu.Connection(url)
        self.queue = self.connection.SimpleQueue(topic)
        self.queue.put("parent")
        self.message = self.queue.get(timeout=LIMIT)

    def ends(self) -> None:
        """End as a program does, with all that it has inherited."""
        sys.exit(0)

    def collects(self) -> None:
        """Free whatever nobody refers to."""
        del self.connection, self.queue, self.message
        gc.collect()

    def releases(self) -> None:
        """Close what it has inherited."""
        self.connection.release()
        gc.collect()

    def connects(self) -> None:
        """Open a connection beside the inherited one."""
        with kombu.Connection(self.url) as own:
            own.SimpleQueue(f"{self.topic}-own").put("own")

    def publishes(self) -> None:
        """Publish over the connection that it has inherited, as `delay()` does."""
        with self.connection.Producer() as producer:
            producer.publish("child", routing_key=self.topic, retry=True, retry_policy=POLICY)
        self.connection.release()

    def acknowledges(self) -> None:
        """Acknowledge what only the parent can."""
        with pytest.raises(amqp.RecoverableConnectionError, match="forked from"):
            self.message.ack()


def outcome_of(work: Callable[[], Any]) -> int | None:
    """Return the exit code of a child that does it, or None if it does not come to an end."""
    child = os.fork()
    if not child:
        work()
        sys.exit(0)
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


def main() -> None:
    """Fork for each of it, and go on in the parent."""
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
    celery_mqauth.register_schemes()
    parent = Parent(*sys.argv[1:])
    works = ("ends", "collects", "releases", "connects", "publishes", "acknowledges")
    report: dict[str, Any] = {name: outcome_of(getattr(parent, name)) for name in works}
    parent.message.ack()
    parent.queue.put("parent again")
    report["parent reads"] = [parent.queue.get(timeout=LIMIT).payload for _ in range(2)]
    parent.connection.release()
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
