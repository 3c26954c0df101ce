"""Run by test_green_threads.py: renewals among green threads. Prints one JSON object.

Arguments: `gevent` or `eventlet`, broker URL, CA file, queue.
"""

from __future__ import annotations

import sys

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
else:
    import eventlet

    eventlet.monkey_patch()

# Everything else comes after the patch, as in Celery's own start.
import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import amqp
import kombu

import celery_mqauth
from mqauth.shared import shared_sources

PUBLISHERS, LIMIT = 5, 40.0


def main() -> None:
    """Publish and consume for longer than a token lives and tell what happened."""
    _, _, url, ca_file, queue = sys.argv
    celery_mqauth.register_schemes()
    stop, all_sent = threading.Event(), threading.Event()
    errors: list[str] = []
    received: list[int] = []
    raws = [open_connection(url, ca_file) for _ in range(PUBLISHERS + 1)]
    (source,) = shared_sources()
    assert source.current is not None
    first = source.current

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - reported
                errors.append(repr(error))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    sent = [0] * PUBLISHERS

    def publish(number: int) -> None:
        channel = raws[number].channel()
        while not stop.is_set():
            channel.basic_publish_confirm(amqp.Message("x" * 20_000), routing_key=queue)
            sent[number] += 1
            time.sleep(0.02)

    def consume() -> None:
        raw = raws[-1]
        raw.channel().basic_consume(queue, no_ack=True, callback=lambda m: received.append(1))
        while not all_sent.is_set() or len(received) < sum(sent):
            with contextlib.suppress(TimeoutError):
                raw.drain_events(timeout=0.2)

    publishers = [guarded(lambda n=n: publish(n)) for n in range(PUBLISHERS)]  # type: ignore[misc]
    consumer = guarded(consume)
    end = time.monotonic() + LIMIT
    while not (source.status().rotations >= 5 and first.expired()) and time.monotonic() < end:
        time.sleep(0.05)
    rotations = source.status().rotations
    stop.set()
    for thread in publishers:
        thread.join(LIMIT)
    all_sent.set()
    consumer.join(LIMIT)
    report: dict[str, Any] = {
        "errors": errors,
        "rotated": rotations >= 5,
        "outlived_the_first": first.expired(),
        "connected": [raw.connected for raw in raws],
        "lost": sum(sent) - len(received),
        "worked": min(sent) > 20,
        "green": sys.argv[1] in str(time.sleep.__module__),
    }
    sys.stdout.write(json.dumps(report))


def open_connection(url: str, ca_file: str) -> Any:
    """Return a raw connection."""
    return kombu.Connection(
        url,
        ssl={"ca_certs": ca_file} if url.startswith("mqauths") else False,
        transport_options={"auth": {"renew_at": 0.1, "cache": False}},
    ).connect()


if __name__ == "__main__":
    main()
