"""Measures how fast one process publishes over several kinds of connections, by turns: `python -m
workloads.bench_publish CONFIGURATION_JSON`. Prints one JSON object: per connection and turn, the
seconds that one chunk took on the clock and on the processor.

It is a process of its own, so that neither the issuer nor the printing shares its interpreter.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from kombu import Connection, Producer, Queue

import celery_mqauth  # noqa: F401 - registers the schemes for plain Kombu
from workloads.processes import die_with_parent

BODY = {"id": "6d3e8a0e-94d5-4f0a-a8f1-2a2b6d3c1f77", "args": [1, 2, "three"], "text": "x" * 300}
QUEUE_LENGTH = 1000
CHUNK = 200
"""Messages between two turns: so few that what slows the machine down hits all alike."""


class Taken(NamedTuple):
    """Seconds that publishing a chunk took."""

    clock: float
    processor: float


class Publisher:
    """One connection and a queue of its own that keeps only the newest messages.

    Args:
        url: The broker, as Kombu takes it.
        ca_file: Certificate authority of the broker, or empty without TLS.
    """

    def __init__(self, url: str, ca_file: str) -> None:
        """Connect and declare the queue."""
        self._connection = Connection(url, ssl={"ca_certs": ca_file} if ca_file else False)
        channel = self._connection.channel()
        self._queue = Queue(durable=False, exclusive=True, max_length=QUEUE_LENGTH)(channel)
        self._queue.declare()
        self._producer = Producer(channel, auto_declare=False)

    def publish(self) -> None:
        """Publish one message."""
        self._producer.publish(
            BODY, routing_key=self._queue.name, delivery_mode=1, serializer="json"
        )

    def settle(self) -> None:
        """Wait until the broker has dealt with everything that was published."""
        self._queue.queue_declare(passive=True)

    def chunk(self) -> Taken:
        """Publish one chunk; return how long that took."""
        clock, processor = time.perf_counter(), time.thread_time()
        for _ in range(CHUNK):
            self.publish()
        taken = Taken(time.perf_counter() - clock, time.thread_time() - processor)
        self.settle()
        return taken

    def close(self) -> None:
        """Close the connection."""
        self._connection.release()


def measure(
    urls: Mapping[str, str], *, ca_file: str, rounds: int, seconds: float
) -> dict[str, list[Taken]]:
    """Return what each chunk took per name, turn by turn.

    In each turn every connection publishes one chunk, in an order that chance decides, so that a
    machine that is slower or faster for a while favours none. Each round has connections of its
    own: how a broker's scheduler happens to treat one connection lasts as long as it does.

    Args:
        urls: Broker URLs by name.
        ca_file: Certificate authority of the broker, or empty without TLS.
        rounds: How many rounds.
        seconds: How long each connection has in a round, about.
    """
    chance = random.Random(0)  # noqa: S311 - no secret
    taken: dict[str, list[Taken]] = {name: [] for name in urls}
    for _ in range(rounds):
        publishers = {name: Publisher(url, ca_file) for name, url in urls.items()}
        for publisher in publishers.values():
            publisher.chunk()
        gc.collect()
        end = time.monotonic() + seconds * len(urls)
        while time.monotonic() < end:
            for name in chance.sample(list(publishers), len(publishers)):
                taken[name].append(publishers[name].chunk())
        for publisher in publishers.values():
            publisher.close()
    return taken


def main() -> None:
    """Measure as told and print the rates."""
    die_with_parent()
    configuration: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(measure(**configuration)))


if __name__ == "__main__":
    main()
