"""What happens while the issuer of credentials is out of order."""

from __future__ import annotations

import itertools
import time

from mqauth_sandbox.faults import FaultMode
from tests.celery.processes import STOP_LIMIT, Worker, wait_until
from tests.celery.world import World

TOKEN_LIFETIME = 24.0
OUTAGE = 0.6
"""Part of a token's life for which the issuer may be out of order at any moment."""

MOMENTS: tuple[tuple[float, FaultMode], ...] = (
    (0.0, "throttle"),
    (0.15, "down"),
    (0.24, "hang"),
)
"""When it begins, in parts of the life of the token in use, which is renewed after a quarter."""


def test_nobody_notices_an_outage_of_most_of_a_token_s_life(world: World) -> None:
    """Whatever moment it begins at, an outage of 60 % of a life drops and delays nothing."""
    world.issuer.token_lifetime = TOKEN_LIFETIME
    configuration = world.configuration(task_acks_late=True)
    worker = world.worker(configuration=configuration)
    producer = world.producer("--results", configuration=configuration)
    for moment, mode in MOMENTS:
        assert world.issuer.wait_for_fetches(world.issuer.fetches + 1, TOKEN_LIFETIME)
        time.sleep(moment * TOKEN_LIFETIME)
        with world.issuer.faults.during(mode, retry_after=3.0):
            time.sleep(OUTAGE * TOKEN_LIFETIME)
    assert world.issuer.wait_for_fetches(world.issuer.fetches + 1, TOKEN_LIFETIME)
    producer.stop()

    assert world.dropped() == []
    assert world.journal.records("publish_error") == []
    assert world.journal.not_exactly_once() == {}
    assert all(record.facts["right"] for record in world.journal.records("result"))
    assert worker.lines_with("renewal failed")
    assert worker.lines_with("Connection to broker lost") == []
    assert unexplained_tracebacks(worker) == []


def test_outage_past_expiry(world: World) -> None:
    """Worker and producer say what is wrong, ask with restraint, and recover by themselves."""
    # The last quarter, in which the worker is to say so, is longer than a machine stalls.
    world.issuer.token_lifetime = 20.0
    worker = world.worker()
    producer = world.producer("--interval", "0.5")
    world.journal.wait_for("end", 3)
    requests = world.issuer.requests
    with world.issuer.faults.during("error500"):
        worker.wait_for_line("WARNING", "renewal failed", "s left, next attempt in", "HTTP")
        worker.wait_for_line("ERROR", "the credential expires in")
        worker.wait_for_line("ERROR", "no valid credential", "once the issuer answers")
        (error, *_) = world.journal.wait_for("publish_error")
        out_since = time.time()
        wait_until(lambda: time.time() > out_since + 6, what="the outage goes on for a while")
    # At most four processes ask: the worker, two children and the producer.
    assert world.issuer.requests - requests < 4 * 40
    assert "cannot serve now: HTTP 500" in error.facts["error"]
    assert "\n" not in error.facts["error"]

    recovered = time.time()
    world.journal.wait(
        lambda journal: sum(r.at > recovered for r in journal.records("sent")) >= 3, 60
    )
    producer.stop()
    world.journal.wait_for_ends(world.journal.ids("sent"), 60)
    assert worker.exit_code is None
    assert unexplained_tracebacks(worker) == []


def test_a_worker_ends_during_an_outage(world: World) -> None:
    """Its heartbeats, every other second, do not keep its event loop from what it is told."""
    worker = world.worker()
    world.wait_for_renewals(1)
    with world.issuer.faults.during("down"):
        worker.wait_for_line("ERROR", "no valid credential", "once the issuer answers")
        out_since = time.time()
        wait_until(lambda: time.time() > out_since + 6, what="a few heartbeats are due")
        worker.stop(STOP_LIMIT)
    assert unexplained_tracebacks(worker) == []


def test_issuer_changes_its_signing_keys(world: World) -> None:
    """New signing keys in mid-run are picked up by the broker; nothing drops."""
    world.worker()
    producer = world.producer()
    world.wait_for_renewals(1)
    world.issuer.rotate_keys()
    world.wait_for_renewals(4)
    producer.stop()
    assert world.dropped() == []
    assert world.journal.records("publish_error") == []
    world.journal.wait_for_ends(world.journal.ids("sent"))
    assert world.journal.not_exactly_once() == {}


def unexplained_tracebacks(worker: Worker) -> list[str]:
    """Return the lines before tracebacks, but for Celery 5.4's own at a lost connection."""
    return [
        before
        for before, line in itertools.pairwise(worker.output.splitlines())
        if line.startswith("Traceback") and "Connection to broker lost" not in before
    ]
