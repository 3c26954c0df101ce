"""Run by test_forks.py: a process with open connections forks; both go on. Prints one JSON object.

Arguments: broker URL, CA file, queue, `os` or `billiard` (how the child comes to be).
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import amqp
import billiard
import kombu
from kombu.pools import connections

import celery_mqauth
from mqauth.shared import shared_sources

LIMIT = 30.0
POLICY = {"interval_start": 0, "max_retries": 3}


def main() -> None:
    """Fork with a busy connection at hand and report on both processes."""
    # As prefork does, whatever newer Pythons say about threads and forks.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
    celery_mqauth.register_schemes()
    url, ca_file, queue, way = sys.argv[1:]
    connection = kombu.Connection(
        url,
        ssl={"ca_certs": ca_file} if url.startswith("mqauths") else False,
        transport_options={"auth": {"renew_at": 0.05, "cache": False}},
    )
    raw = connection.connect()
    with connections[connection].acquire() as pooled:
        pooled_raw = pooled.connect()
    publish(connection, queue)
    rotate(1)
    child = fork_by_billiard if way == "billiard" else fork
    report = child(connection, raw, queue)
    rotate(1)
    publish(connection, queue)
    report |= {
        "parent_keeps_its_connections": connection.connection is raw and pooled_raw.connected,
        "parent_pooled_works": works(pooled_raw),
        "parent_renewed": renewed(raw),
    }
    sys.stdout.write(json.dumps(report))


def in_child(connection: kombu.Connection, raw: Any, queue: str) -> dict[str, Any]:
    """Do in the child what Celery's and users' children do."""
    (source,) = shared_sources()
    listeners = source.status().connections
    try:
        raw.channels[1].basic_publish(amqp.Message("from the child"), routing_key=queue)
        refused = "nothing"
    except connection.recoverable_connection_errors as error:
        refused = str(error)
    publish(connection, queue)
    own = connection.connection
    rotate(1)
    publish(connection, queue)
    report = {
        "child_listeners_at_start": listeners,
        "child_on_parents_connection": refused,
        "child_has_its_own": own is not raw and connection.connection is own,
        "child_renewed": renewed(own),
    }
    connection.release()
    return report


def fork(connection: kombu.Connection, raw: Any, queue: str) -> dict[str, Any]:
    """Run `in_child` in a plain fork."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(in_child(connection, raw, queue)).encode())
            raw.close()
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    report: dict[str, Any] = json.loads(os.read(reader, 65536))
    return report


def fork_by_billiard(connection: kombu.Connection, raw: Any, queue: str) -> dict[str, Any]:
    """Run `in_child` in a process of billiard's, where Kombu clears inherited pools away."""
    context = billiard.get_context("fork")
    results = context.SimpleQueue()
    process = context.Process(target=lambda: results.put(in_child(connection, raw, queue)))
    process.start()
    report: dict[str, Any] = results.get()
    process.join(LIMIT)
    return report


def publish(connection: kombu.Connection, queue: str) -> None:
    """Publish one message; connect anew if need be."""
    producer = kombu.Producer(connection)
    producer.publish({"pid": os.getpid()}, routing_key=queue, retry=True, retry_policy=POLICY)


def works(raw: Any) -> bool:
    """Return whether a round trip to the broker does."""
    raw.channel().close()
    return True


def rotate(times: int) -> None:
    """Wait until the credential has been renewed."""
    (source,) = shared_sources()
    wanted = source.status().rotations + times
    wait_for(lambda: source.status().rotations >= wanted)


def renewed(raw: Any) -> bool:
    """Return whether the connection carries the newest credential, or does so in a moment."""
    (source,) = shared_sources()
    return wait_for(lambda: raw.credentials is source.current)


def wait_for(condition: Callable[[], bool]) -> bool:
    """Wait until a condition holds; return whether it does."""
    end = time.monotonic() + LIMIT
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


if __name__ == "__main__":
    main()
