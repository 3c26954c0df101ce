"""Forks: a child shares its parent's credential and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mqauth_sandbox.oidc import OidcIssuer

Run = Callable[..., Any]


@pytest.fixture
def run(config: dict[str, Any], tmp_path: Path) -> Run:
    """Run a scenario of `forking_process` and return what it reports."""

    def run(scenario: str, **changes: Any) -> Any:
        script = Path(__file__).with_name("forking_process.py")
        settings = {**config, "cache": str(tmp_path / "cache"), **changes}
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)],
            input=json.dumps({"scenario": scenario, "config": settings}),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_child_works_while_its_parent_held_every_lock(issuer: OidcIssuer, run: Run) -> None:
    """The child has its parent's credential, no fetch of its own, and no lock to wait for."""
    child = run("locks_held")["child"]
    assert child == {"same": True, "connections": 1, "fetches": 0}
    assert issuer.fetches == 1


def test_a_child_does_not_write_to_its_parents_connections(run: Run) -> None:
    """What the child renews reaches the child's connections only."""
    result = run("listeners_stay")
    assert result["child"] == {"connections": 1, "own": True, "inherited": 0}
    assert (result["connections"], result["told"]) == (1, 0)


def test_forks_in_the_midst_of_renewals_do_not_deadlock(run: Run) -> None:
    """Twenty children of a parent that never stops renewing all renew by themselves."""
    result = run("many_forks", cache=False)
    assert len(result["children"]) == 20
    for child in result["children"]:
        assert child.get("renewed"), child
        assert child["told"]
    assert result["parent_alive"]
    assert len({child["jitter"] for child in result["children"]}) == 20, "drawn anew in each child"


def test_forks_in_the_midst_of_renewals_through_the_cache_do_not_deadlock(run: Run) -> None:
    """The same with the lock of the host's cache in everybody's way."""
    result = run("many_forks")
    for child in result["children"]:
        assert child.get("renewed"), child
        assert child["told"]
    assert result["parent_alive"]


def test_parent_and_child_each_renew_in_the_background(issuer: OidcIssuer, run: Run) -> None:
    """The thread does not come along with a fork; the child starts one when it has a use for it."""
    issuer.token_lifetime = 4.0
    result = run("background_in_child")
    assert result == {"parent_told": True, "child": {"thread": False, "told": True}}


def test_a_child_does_not_keep_the_hosts_lock(run: Run) -> None:
    """A lock that was held during the fork is free once the parent releases it."""
    assert run("orphaned_lock") == {"again": True}


def test_the_registry_of_shared_sources_survives_forks(issuer: OidcIssuer, run: Run) -> None:
    """A child finds its parent's sources, whatever another thread was doing to the registry."""
    children = run("registry")["children"]
    assert children == [{"same": True, "count": 1, "ok": True}] * 5
    assert issuer.fetches == 1


def test_a_child_remembers_its_parents_failure(issuer: OidcIssuer, run: Run) -> None:
    """A pool of children does not ask a refusing issuer again, once each, at once."""
    result = run("hooks_and_failures", client_secret="wrong" * 5, cache=False)
    assert result["child"] == {"text": result["first"], "failures": 0, "heard": result["heard"]}
    assert issuer.requests == 1


def test_a_fork_waits_for_a_fetch(run: Run) -> None:
    """A lock of OpenSSL's that a thread holds during a fork would be held in the child for ever."""
    assert run("fetch_under_way") == {"over_before_the_fork": True}


def test_a_fork_does_not_wait_for_an_issuer_that_hangs(run: Run) -> None:
    """What waits for the network holds no lock; and the second fork need not wait at all."""
    assert run("fetch_that_hangs") == {"over_before_the_fork": [False, False]}


def test_a_child_gives_no_call_to_its_parents_threads(run: Run) -> None:
    """They are not there, whether they were idle or busy."""
    child = {"made": 7, "fetched": True}
    assert run("threads_of_the_parent") == {"child": child, "parent": True}


def test_who_forks_inside_a_fetch_does_not_wait_for_it(run: Run) -> None:
    """Under gevent a program is started by a fork, with its hooks."""
    result = run("fork_inside_a_block")
    assert result["child"]
    assert result["waited"] < 25.0  # of 50


def test_a_fork_waits_for_what_nobody_waits_for_any_more(run: Run) -> None:
    """A fetch that was given up may be just about to make a TLS context."""
    assert run("call_left_alone") == {"over_before_the_fork": True}


def test_signals_that_strike_in_the_hooks_of_a_fork_lock_nothing(run: Run) -> None:
    """The child is made anew as a whole, and the parent fetches on."""
    assert run("struck_hooks") == {"not_reset": 0, "goes_on": True}
