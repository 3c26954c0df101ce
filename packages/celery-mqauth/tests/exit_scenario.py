"""Run by test_exit.py: acknowledge a message and exit without closing the connection.

Arguments: broker URL, CA file, queue, who exits: this `process`, a `child` of billiard's, or one of
a prefork `pool` of Celery's. Says "renewed" once the broker's answer to a renewal waits to be read,
and goes on when told to.
"""

from __future__ import annotations

import os
import select
import sys
import time
import warnings

import billiard
import kombu
from billiard.pool import Pool
from celery.concurrency.prefork import process_destructor

import celery_mqauth
from mqauth.shared import shared_sources

LIMIT = 30.0


def main() -> None:
    """Take the message in this process or in a child."""
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
    celery_mqauth.register_schemes()
    *where, way = sys.argv[1:]
    if way == "process":
        take(*where)
    elif way == "child":
        child = billiard.get_context("fork").Process(target=take, args=tuple(where))
        child.start()
        child.join(LIMIT)
        sys.exit(child.exitcode)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pool = Pool(1, on_process_exit=process_destructor)
            pool.apply(take, where)
            pool.close()
            pool.join()


def take(url: str, ca_file: str, queue: str) -> None:
    """Receive one message, let the connection be renewed unread, acknowledge."""
    connection = kombu.Connection(
        url,
        ssl={"ca_certs": ca_file} if url.startswith("mqauths") else False,
        transport_options={"auth": {"renew_at": 0.05, "cache": False}},
    )
    received: list[kombu.Message] = []
    consumer = connection.Consumer([kombu.Queue(queue, no_declare=True)], prefetch_count=1)
    consumer.register_callback(lambda _, message: received.append(message))
    consumer.consume()
    while not received:
        connection.drain_events(timeout=LIMIT)
    (source,) = shared_sources()
    renewals, end = source.status().rotations, time.monotonic() + LIMIT
    while source.status().rotations == renewals:
        if time.monotonic() > end:
            sys.exit("the credential was not renewed")
        time.sleep(0.02)
    if not select.select([connection.connection.sock], [], [], LIMIT)[0]:
        sys.exit("the broker did not answer")
    sys.stdout.write("renewed\n")
    sys.stdout.flush()
    os.read(0, 1)
    received[0].ack()
    globals()["kept"] = connection  # as pools keep theirs to the very end


if __name__ == "__main__":
    main()
