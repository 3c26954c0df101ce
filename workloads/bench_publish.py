"""Measures how fast one process publishes over several kinds of connections, by turns: `python -m
workloads.bench_publish CONFIGURATION_JSON`. Prints one JSON object: messages per second per
connection, round by round.

It is a process of its own, so that neither the issuer nor the printing shares its interpreter.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from kombu import Connection, Producer, Queue

import celery_mqauth  # noqa: F401 - registers the schemes for plain Kombu
from workloads.processes import die_with_parent

BODY = {"id": "6d3e8a0e-94d5-4f0a-a8f1-2a2b6d3c1f77", "args": [1, 2, "three"], "text": "x" * 300}
QUEUE_LENGTH = 1000
CHUNK = 200
"""Messages between two turns: so few that what slows the machine down hits all alike."""


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

    def chunk(self) -> float:
        """Publish one chunk; return how long that took in seconds."""
        begin = time.perf_counter()
        for _ in range(CHUNK):
            self.publish()
        seconds = time.perf_counter() - begin
        self.settle()
        return seconds

    def close(self) -> None:
        """Close the connection."""
        self._connection.release()


def measure(
    urls: Mapping[str, str], *, ca_file: str, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Return the rates per name and round.

    In a round the connections take turns after each chunk, and who goes first changes: a machine
    that is slower or faster for a while favours none of them. A round's rate is that of its median
    chunk, which the scheduler's odd interruption does not move.

    Args:
        urls: Broker URLs by name.
        ca_file: Certificate authority of the broker, or empty without TLS.
        rounds: How many rates to measure of each.
        seconds: How long each has in a round, about.
    """
    publishers = {name: Publisher(url, ca_file) for name, url in urls.items()}
    begin = time.perf_counter()
    take_turns(publishers, len(publishers))
    turns = max(5, int(seconds * len(publishers) ** 2 / (time.perf_counter() - begin)))
    rates: dict[str, list[float]] = {name: [] for name in publishers}
    for _ in range(rounds):
        gc.collect()
        chunks = take_turns(publishers, turns)
        for name, taken in chunks.items():
            rates[name].append(CHUNK / median(taken))
    for publisher in publishers.values():
        publisher.close()
    return rates


def take_turns(publishers: Mapping[str, Publisher], turns: int) -> dict[str, list[float]]:
    """Return how long each publisher's chunks took."""
    names = list(publishers)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            taken[name].append(publishers[name].chunk())
    return taken


def main() -> None:
    """Measure as told and print the rates."""
    die_with_parent()
    configuration: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(measure(**configuration)))


if __name__ == "__main__":
    main()
