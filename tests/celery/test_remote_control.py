"""What talks to workers, or listens to them, while credentials rotate."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import pytest

from mqauth_sandbox import Sandbox
from tests.celery.broker_lines import VANISHED
from tests.celery.world import World

PATIENT = ("--timeout", "5")
"""For workers that a busy machine keeps from answering within Celery's one second."""


@pytest.fixture(scope="module")
def pair(mqauth_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two workers that know each other (gossip, mingle) and send events, for all tests here."""
    lifetime = mqauth_sandbox.issuer.token_lifetime
    world = World(mqauth_sandbox, tmp_path_factory.mktemp("pair"))
    # At DEBUG they say whom they meet.
    first = world.worker("--events", name="first", loglevel="DEBUG", ready=False)
    second = world.worker("--events", name="second", loglevel="DEBUG", ready=False)
    first.wait_until_ready()
    second.wait_until_ready()
    yield world
    world.close()
    mqauth_sandbox.issuer.token_lifetime = lifetime


@pytest.fixture
def rotating_pair(pair: World) -> Iterator[World]:
    """The two workers; a rotation passes during the test and nothing drops."""
    before = pair.broker.log_size()
    yield pair
    pair.wait_for_renewals(1, since=before)
    # A command that ends without closing its connection is the command's own affair.
    assert pair.dropped(before, besides=VANISHED) == []


def test_inspect_ping(rotating_pair: World) -> None:
    """Both workers answer `celery inspect ping`."""
    answer = rotating_pair.celery("inspect", *PATIENT, "--json", "ping")
    assert json.loads(answer.stdout) == {
        "first@test": {"ok": "pong"},
        "second@test": {"ok": "pong"},
    }, answer.stderr


def test_inspect_active(rotating_pair: World) -> None:
    """`celery inspect active` names a task that runs over a rotation."""
    going_on = rotating_pair.folder / "going-on"
    going_on.touch()
    task = rotating_pair.send("hold_while_there", str(going_on))
    assert rotating_pair.journal.wait(lambda journal: task in journal.ids("start"))
    rotating_pair.wait_for_renewals(1)
    answer = rotating_pair.celery("inspect", *PATIENT, "--json", "active")
    going_on.unlink()
    active = [entry["id"] for tasks in json.loads(answer.stdout).values() for entry in tasks]
    assert active == [task], answer.stderr
    rotating_pair.journal.wait_for_ends([task])
    assert rotating_pair.journal.not_exactly_once() == {}


def test_inspect_mqauth(rotating_pair: World) -> None:
    """`celery inspect mqauth` shows who signs in, until when, and how it went."""
    rotating_pair.wait_for_renewals(1)
    before = failures(rotating_pair)
    answer = rotating_pair.celery("inspect", *PATIENT, "--json", "mqauth")
    replies = json.loads(answer.stdout)
    assert replies.keys() == {"first@test", "second@test"}, answer.stderr
    after = failures(rotating_pair)
    for name, reply in replies.items():
        (source,) = reply["sources"]
        assert source["provider"] == "oauth2"
        assert source["rotations"] > 0
        # None, unless the machine stood still for longer than an attempt may take.
        assert before[name] <= source["failures"] <= after[name]
        assert source["connections"] > 0
        assert 0 < source["remaining"] <= rotating_pair.issuer.token_lifetime


def failures(pair: World) -> dict[str, int]:
    """Return how many renewals of each worker, its children's left out, have failed by its log."""
    return {
        f"{worker.name}@test": len(worker.lines_with("renewal failed", "MainProcess"))
        for worker in pair.processes("first", "second")
    }


def test_inspect_ends_although_renewals_are_answered(rotating_pair: World) -> None:
    """A wait longer than the time between two renewals ends all the same."""
    answer = rotating_pair.celery("inspect", "--timeout", "4", "--json", "ping")
    assert json.loads(answer.stdout).keys() == {"first@test", "second@test"}, answer.stderr


def test_status(rotating_pair: World) -> None:
    """`celery status` finds both workers."""
    answer = rotating_pair.celery("status", *PATIENT)
    assert answer.returncode == 0, answer.stderr
    assert "2 nodes online" in answer.stdout


def test_mqauth_status_as_json(rotating_pair: World) -> None:
    """`celery mqauth status --json` is one JSON object with an entry per worker."""
    answer = rotating_pair.celery("mqauth", "status", *PATIENT, "--json")
    assert answer.returncode == 0, answer.stderr
    replies = json.loads(answer.stdout)
    assert {name: len(reply["sources"]) for name, reply in replies.items()} == {
        "first@test": 1,
        "second@test": 1,
    }


def test_mqauth_status_for_people(rotating_pair: World) -> None:
    """`celery mqauth status` is one line per worker."""
    answer = rotating_pair.celery("mqauth", "status", *PATIENT)
    first, second = answer.stdout.splitlines()
    assert first.startswith("first@test: oauth2 client")
    assert second.startswith("second@test: oauth2 client")
    assert re.search(r", \d+ failures\b", first)


def test_events_dump(rotating_pair: World) -> None:
    """`celery events --dump` keeps receiving after the token that it signed in with ran out."""
    events = rotating_pair.start("events", "events", "--dump")
    events.wait_for_line("heartbeat:")
    rotating_pair.wait_for_renewals(5)
    task = rotating_pair.send("add", 1, 2)
    events.wait_for_line(task, "succeeded")
    assert len(events.lines_with("Couldn't connect")) == 0
    events.send(signal.SIGINT)
    events.wait()


def test_mingle_and_gossip(rotating_pair: World) -> None:
    """Workers whose tokens were renewed greet one that starts later, and notice when it leaves."""
    late = rotating_pair.worker(name="late")
    assert late.lines_with("mingle: sync with 2 nodes")
    others = rotating_pair.processes("first", "second")
    for worker in others:
        worker.wait_for_line("late@test joined the party")
    assert late.stop() == 0
    for worker in others:
        worker.wait_for_line("late@test left")
        assert worker.lines_with("missed heartbeat from") == []


def test_beat(rotating_pair: World) -> None:
    """`celery beat` publishes on schedule over several rotations."""
    schedule = {"often": {"task": "tests.celery.sample_app.add", "schedule": 0.5, "args": [1, 2]}}
    before = len(rotating_pair.journal.records("end"))
    beat = rotating_pair.start(
        "beat",
        "beat",
        "--schedule",
        str(rotating_pair.folder / "schedule"),
        "--max-interval",
        "1",
        "--loglevel",
        "INFO",
        beat_schedule=schedule,
        result_backend=None,
    )
    beat.wait_for_line("beat: Starting")
    since = rotating_pair.broker.log_size()
    rotating_pair.wait_for_renewals(5, since=since)
    rotating_pair.journal.wait_for("end", before + 10)
    assert beat.lines_with("ERROR") == []
    assert rotating_pair.dropped(since) == []
    beat.send(signal.SIGTERM)
    beat.wait()
