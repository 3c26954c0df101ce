"""The verdict is clean only for a run that shows something and shows no fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from workloads.verdict import Verdict

CLEAN = Verdict(
    tasks=10,
    done=10,
    lost=0,
    repeated=0,
    dropped=0,
    publish_errors=0,
    rotations=3,
    rotations_due=True,
    worker_survived=True,
    extras={},
)


def test_a_run_without_faults_is_clean() -> None:
    """All zeros, with tasks and rotations, is clean."""
    assert CLEAN.clean


@pytest.mark.parametrize("fault", ["lost", "repeated", "dropped", "publish_errors"])
def test_a_single_fault_is_enough(fault: str) -> None:
    """One of anything makes the run fail."""
    changes: dict[str, Any] = {fault: 1}
    assert not replace(CLEAN, **changes).clean


def test_a_run_that_sent_nothing_is_not_clean() -> None:
    """No tasks, no verdict."""
    assert not replace(CLEAN, tasks=0, done=0).clean


def test_a_run_without_the_rotations_it_must_have_is_not_clean() -> None:
    """A run longer than a token's life under which nothing was renewed proves nothing."""
    assert not replace(CLEAN, rotations=0).clean
    assert replace(CLEAN, rotations=0, rotations_due=False).clean


def test_a_dead_worker_is_not_clean() -> None:
    """A worker that ended by itself fails the run, even after the last task."""
    assert not replace(CLEAN, worker_survived=False).clean
