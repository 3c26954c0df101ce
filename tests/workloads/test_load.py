"""The load is even, fits its pool, and its long tasks outlive their token."""

from __future__ import annotations

import pytest

from workloads.load import Load

POOLS = ("prefork", "threads", "solo", "gevent", "eventlet")


def test_prefork_gets_the_published_load() -> None:
    """With tokens of 25 s: 20 short tasks a second and one of 45 s every 10 s."""
    load = Load.fitted(pool="prefork", ttl=25, seconds=240)
    assert (load.short_rate, load.long_seconds, load.long_every) == (20, 45, 10)


@pytest.mark.parametrize("pool", POOLS)
def test_long_tasks_outlive_their_token(pool: str) -> None:
    """In every pool and for every lifetime a long task runs longer than a token lives."""
    for ttl in (5.0, 25.0, 60.0):
        assert Load.fitted(pool=pool, ttl=ttl, seconds=60).long_seconds > ttl


@pytest.mark.parametrize("pool", POOLS)
def test_long_tasks_leave_slots_for_short_ones(pool: str) -> None:
    """Long tasks keep at most five slots busy, and half of the only one of solo."""
    load = Load.fitted(pool=pool, ttl=25, seconds=60)
    assert load.long_seconds / load.long_every <= (0.5 if pool == "solo" else 5)


def test_the_schedule_is_in_order_and_complete() -> None:
    """Every task has its time, in order, none after the end."""
    load = Load(seconds=10, short_rate=5, long_seconds=8, long_every=4)
    schedule = list(load.schedule())
    assert [offset for offset, _, _ in schedule] == sorted(offset for offset, _, _ in schedule)
    assert sum(kind == "short" for _, kind, _ in schedule) == 50
    assert [offset for offset, kind, _ in schedule if kind == "long"] == [0, 4, 8]
