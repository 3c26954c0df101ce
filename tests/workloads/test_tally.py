"""The tally finds what was lost, what ran twice and what was refused."""

from __future__ import annotations

import pytest

from workloads.ledger import Event, What
from workloads.tally import Tally


def event(what: What, task_id: str = "", *, time: float = 0.0, kind: str = "short") -> Event:
    """Return one event."""
    return Event(time=time, what=what, kind=kind, task_id=task_id)


def run_of(task_id: str) -> list[Event]:
    """Return the events of a task that went well."""
    return [event(what, task_id) for what in (What.SENT, What.START, What.END)]


def tally(*events: Event, expects_results: bool = False) -> Tally:
    """Return the tally of these events."""
    counted = Tally(expects_results=expects_results)
    counted.add(events)
    return counted


def test_a_run_without_faults_has_none() -> None:
    """Tasks that start and end once are neither lost nor repeated."""
    counted = tally(*run_of("a"), *run_of("b"))
    assert (counted.tasks, counted.done, counted.running) == (2, 2, 0)
    assert (counted.lost, counted.repeated, counted.publish_errors) == (set(), 0, 0)


def test_a_task_that_never_starts_is_lost() -> None:
    """What was sent and never started counts as lost."""
    counted = tally(*run_of("a"), event(What.SENT, "b"))
    assert counted.lost == {"b"}


def test_a_task_that_never_ends_is_lost() -> None:
    """What was started and never finished counts as lost, and as running until the run is over."""
    counted = tally(*run_of("a"), event(What.SENT, "b"), event(What.START, "b"))
    assert (counted.lost, counted.running) == ({"b"}, 1)


def test_every_start_beyond_the_first_is_a_repetition() -> None:
    """A task started three times counts two, even if it ended but once."""
    counted = tally(*run_of("a"), event(What.START, "a"), event(What.START, "a"))
    assert (counted.repeated, counted.most_starts, counted.lost) == (2, 3, set())


def test_a_task_of_a_failed_publish_that_runs_twice_is_a_repetition() -> None:
    """Starts count whoever sent them: a publish may fail and its task run all the same."""
    counted = tally(event(What.START, "ghost"), event(What.START, "ghost"))
    assert (counted.tasks, counted.repeated) == (0, 1)


def test_a_publish_that_raises_is_counted_and_not_lost() -> None:
    """What `delay` refused is a publish error; nobody was promised that it would run."""
    counted = tally(Event(time=0, what=What.PUBLISH_ERROR, kind="short", detail="AccessRefused"))
    assert (counted.publish_errors, counted.errors["AccessRefused"]) == (1, 1)
    assert counted.lost == set()


def test_a_missing_result_is_a_loss_where_results_are_expected() -> None:
    """A task that finished but whose result never came back is lost to who waits for it."""
    events = [*run_of("a"), event(What.RESULT, "a"), *run_of("b")]
    assert tally(*events, expects_results=True).lost == {"b"}
    assert tally(*events).lost == set()


def test_a_wrong_result_is_a_loss() -> None:
    """A result that came back wrong is recorded as missing and so counts as lost."""
    events = [*run_of("a"), event(What.RESULT_MISSING, "a")]
    assert tally(*events, expects_results=True).lost == {"a"}


def test_the_gap_is_the_longest_time_without_a_start() -> None:
    """Starts out of order count in order, and long tasks do not fill a gap."""
    counted = tally(
        event(What.START, "c", time=14.0),
        event(What.START, "a", time=10.0),
        event(What.START, "b", time=11.0),
        event(What.START, "long", time=12.0, kind="long"),
    )
    assert counted.longest_gap_ms(10.0, 14.0) == pytest.approx(3000)


def test_a_standstill_at_the_end_is_a_gap() -> None:
    """A worker that stops for good has a gap to the end of the window."""
    counted = tally(event(What.START, "a", time=1.0))
    assert counted.longest_gap_ms(0.0, 9.0) == pytest.approx(8000)


def test_the_first_publish_does_not_count_as_slowest() -> None:
    """The first publish opens the connection; the slowest is taken from the others."""
    counted = tally(
        Event(time=0, what=What.SENT, kind="short", task_id="a", value=90.0),
        Event(time=1, what=What.SENT, kind="short", task_id="b", value=2.0),
    )
    assert counted.max_publish_ms == 2.0
