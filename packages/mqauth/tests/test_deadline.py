"""Calls that may hang are given up in time, and do not pile up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait

import pytest

from mqauth.errors import IssuerRefusedError, IssuerUnavailableError
from mqauth.providers._deadline import MAX_ABANDONED, BoundedCalls, Deadline

LIMIT = 60.0


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hanging calls wait for; set when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_results_and_errors_pass_through() -> None:
    """What a call returns or raises is what the caller gets."""
    calls = BoundedCalls("the issuer")
    assert calls.run(Deadline(5), lambda: 7) == 7

    def refuse() -> None:
        raise IssuerRefusedError("no", remedy="ask nicely")

    with pytest.raises(IssuerRefusedError, match="no"):
        calls.run(Deadline(5), refuse)
    with pytest.raises(TimeoutError, match="its own"):
        calls.run(Deadline(5), _time_out)


def test_a_hanging_call_is_abandoned(release: threading.Event) -> None:
    """At the deadline the caller goes on, and is told so that it can let go of things."""
    calls, told = BoundedCalls("the issuer"), threading.Event()
    started = time.monotonic()
    with pytest.raises(IssuerUnavailableError, match=r"no complete answer within 0\.1 s"):
        calls.run(Deadline(0.1), release.wait, abandoned=told.set)
    assert time.monotonic() - started < 10  # it would never end
    assert told.is_set()


def test_hanging_calls_do_not_pile_up(release: threading.Event) -> None:
    """Once enough calls hang, further ones fail at once, until one of them returns."""
    calls = BoundedCalls("the issuer")
    for _ in range(MAX_ABANDONED):
        with pytest.raises(IssuerUnavailableError, match="no complete answer"):
            calls.run(Deadline(0.01), release.wait)
    with pytest.raises(IssuerUnavailableError, match="still unanswered"):
        calls.run(Deadline(5), lambda: 7)
    release.set()
    wait(calls._calls, LIMIT)
    assert calls.run(Deadline(5), lambda: 7) == 7


def _time_out() -> None:
    raise TimeoutError("its own")
