"""Calls are made on threads that serve again, so that few of them ever end."""

from __future__ import annotations

import contextvars
import threading
import time

import pytest

from mqauth.threads import MOST_IDLE, ReusedThreads, make_here

LIMIT = 60.0


@pytest.fixture
def reused() -> ReusedThreads:
    """Threads that serve this test alone."""
    return ReusedThreads()


def test_outcomes_are_told(reused: ReusedThreads) -> None:
    """What a call returns or raises is its outcome."""
    assert reused.begin(lambda: 7, "call").result(LIMIT) == 7
    assert isinstance(reused.begin(lambda: 1 / 0, "call").exception(LIMIT), ZeroDivisionError)
    assert isinstance(reused.begin(_exit, "call").exception(LIMIT), SystemExit)


def test_calls_one_after_the_other_share_a_thread(reused: ReusedThreads) -> None:
    """A thread's end takes a lock of OpenSSL's, which a fork in that moment hands to its child."""
    first = reused.begin(threading.get_ident, "call").result(LIMIT)
    later = {reused.begin(threading.get_ident, "call").result(LIMIT) for _ in range(50)}
    assert later == {first}


def test_calls_at_once_have_a_thread_each(reused: ReusedThreads) -> None:
    """No call waits for another; what is left over when they are done ends."""
    together = threading.Barrier(MOST_IDLE + 3)

    def meet() -> threading.Thread:
        together.wait(LIMIT)
        return threading.current_thread()

    calls = [reused.begin(meet, "meeting") for _ in range(together.parties)]
    used = {call.result(LIMIT) for call in calls}
    assert len(used) == together.parties
    end = time.monotonic() + LIMIT
    while sum(thread.is_alive() for thread in used) > MOST_IDLE and time.monotonic() < end:
        time.sleep(0.01)
    assert sum(thread.is_alive() for thread in used) <= MOST_IDLE


def test_threads_bear_the_name_of_their_call(reused: ReusedThreads) -> None:
    """A list of a process's threads tells what each is at."""
    assert reused.begin(_name, "mqauth-the issuer").result(LIMIT) == "mqauth-the issuer"
    assert reused.begin(_name, "another").result(LIMIT) == "another"


def test_calls_leave_nothing_to_the_next(reused: ReusedThreads) -> None:
    """Neither context variables nor anything that is referred to."""
    variable = contextvars.ContextVar("variable", default="none")
    reused.begin(lambda: variable.set("some"), "call").result(LIMIT)
    assert reused.begin(variable.get, "call").result(LIMIT) == "none"


def test_a_call_on_the_present_thread_has_an_outcome_too() -> None:
    """The same for who needs no thread of its own."""
    assert make_here(threading.get_ident).result(0) == threading.get_ident()
    assert isinstance(make_here(lambda: 1 / 0).exception(0), ZeroDivisionError)


def _name() -> str:
    return threading.current_thread().name


def _exit() -> None:
    raise SystemExit(3)
