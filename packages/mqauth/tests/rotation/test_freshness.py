"""The arithmetic of renewal: always early enough, never too often, whatever fails for how long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mqauth import BrokerCredentials, ConfigurationError, Freshness, RotationPolicy, Secret
from mqauth.credentials import utc_from_timestamp
from mqauth.rotation.freshness import (
    LONGEST_RETRY_DELAY,
    MINIMUM_ATTEMPT_TIMEOUT,
    MINIMUM_RETRY_DELAY,
    PERMANENT_RETRY_DELAY,
)

ISSUED = 1_800_000_000.0
OUTAGE = 0.6
"""Part of a life that an issuer may be down, at any moment of it."""
A_FETCH = 0.1
"""Seconds that an issuer needs which is well."""


def in_flight_margin(lifetime: float) -> float:
    """Return the last seconds of a life, in which a connection no longer publishes."""
    return min(1.0, lifetime / 20)


fractions = st.floats(0, 1)
lifetimes = st.floats(10, 3600)
policies = st.builds(
    RotationPolicy,
    renew_at=st.floats(0.01, 0.8),
    jitter=st.floats(0, 0.1),
    timeout=fractions.map(lambda part: 0.5 + 60 * part),
)


def credentials(lifetime: float | None, *, skew: float = 0.0) -> BrokerCredentials:
    """Return a credential that was issued at `ISSUED` on this host's clock."""
    start = utc_from_timestamp(ISSUED + skew)
    return BrokerCredentials(
        username="",
        password=Secret("x"),
        issued_at=start,
        expires_at=None if lifetime is None else start + timedelta(seconds=lifetime),
        clock_skew=skew,
    )


@given(policy=policies, lifetime=lifetimes, random=fractions)
def test_renewal_is_due_before_expiry_and_within_the_jitter(
    policy: RotationPolicy, lifetime: float, random: float
) -> None:
    """Renewal starts after `renew_at` of the life, no later than the jitter, before the end."""
    age = policy.renewal_time(credentials(lifetime), random) - ISSUED
    earliest, latest = policy.renew_at, policy.renew_at + policy.jitter
    assert earliest * lifetime - 0.01 <= age <= latest * lifetime + 0.01
    assert age < lifetime


@given(lifetime=lifetimes, skew=st.floats(-86400, 86400), random=fractions)
def test_clock_skew_changes_nothing_here(lifetime: float, skew: float, random: float) -> None:
    """An issuer whose clock is wrong gives the same moments on this host's clock."""
    policy = RotationPolicy()
    right, wrong = credentials(lifetime), credentials(lifetime, skew=skew)
    difference = policy.renewal_time(wrong, random) - policy.renewal_time(right, random)
    assert difference == pytest.approx(0, abs=0.01)
    assert wrong.remaining(ISSUED) == pytest.approx(lifetime, abs=0.01)
    assert wrong.lifetime == pytest.approx(right.lifetime, abs=0.01)


@given(lifetime=lifetimes, age=st.floats(0, 2), random=fractions)
def test_the_three_states_follow_each_other(lifetime: float, age: float, random: float) -> None:
    """Fresh until renewal is due, due until the end, expired ever after."""
    policy, held = RotationPolicy(), credentials(lifetime)
    now = ISSUED + lifetime * age
    state = policy.freshness(held, random, now)
    if now >= held.local_expiry:
        assert state is Freshness.EXPIRED
    elif now >= policy.renewal_time(held, random):
        assert state is Freshness.DUE
    else:
        assert state is Freshness.FRESH


def test_what_never_expires_is_never_due() -> None:
    """A static password stays fresh, needs no margin, and its arithmetic stays finite."""
    policy, static = RotationPolicy(), credentials(None)
    assert policy.renewal_time(static, 1.0) == math.inf
    assert policy.freshness(static, 0.0, ISSUED + 1e9) is Freshness.FRESH
    assert policy.login_margin(static) == 0.0
    assert not static.expired(ISSUED + 1e9)
    assert policy.attempt_timeout(math.inf) == policy.timeout
    assert policy.retry_delay(1, math.inf, 0.5) < 1


@given(policy=policies, remaining=st.floats(0.001, 3600), random=fractions)
def test_an_attempt_leaves_room_for_another(
    policy: RotationPolicy, remaining: float, random: float
) -> None:
    """An attempt that hangs, and the wait after it, end well before the credential does."""
    attempt = policy.attempt_timeout(remaining)
    assert 0 < attempt <= policy.timeout
    left = remaining - max(attempt, 0.0)
    if remaining > 4 * MINIMUM_ATTEMPT_TIMEOUT and remaining > 4 * MINIMUM_RETRY_DELAY:
        assert attempt <= remaining / 2
        assert policy.retry_delay(1, left, random) < left


@given(
    failures=st.integers(1, 10_000),
    remaining=st.floats(0, 3600),
    random=fractions,
    retryable=st.booleans(),
)
def test_the_wait_after_a_failure_fits_into_what_is_left(
    failures: int, remaining: float, random: float, *, retryable: bool
) -> None:
    """While the credential lasts a wait takes an eighth of what is left at most, or the minimum."""
    delay = RotationPolicy().retry_delay(failures, remaining, random, retryable=retryable)
    longest = 1.2 * max(LONGEST_RETRY_DELAY, PERMANENT_RETRY_DELAY)
    assert MINIMUM_RETRY_DELAY <= delay <= longest + 1e-6
    if remaining > 0:
        assert delay <= max(MINIMUM_RETRY_DELAY, remaining / 8)


def test_the_wait_grows_while_nothing_is_at_hand() -> None:
    """With no credential to run out, each failure doubles the wait up to the longest."""
    policy = RotationPolicy()
    waits = [policy.retry_delay(failures, 0.0, 0.5) for failures in range(1, 12)]
    assert waits[:4] == pytest.approx([0.5, 1.0, 2.0, 4.0])
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_RETRY_DELAY


def test_a_permanent_failure_waits_long_from_the_first() -> None:
    """An issuer that says no is not asked again every half second."""
    assert RotationPolicy().retry_delay(1, 0.0, 0.5, retryable=False) == PERMANENT_RETRY_DELAY


@given(
    failures=st.integers(1, 50),
    remaining=st.floats(1, 3600),
    random=fractions,
    retry_after=st.floats(0, 1e9),
)
def test_retry_after_never_reaches_beyond_the_remaining_life(
    failures: int, remaining: float, random: float, retry_after: float
) -> None:
    """The issuer's wish is obeyed as far as half of what is left, and never shortens the wait."""
    policy = RotationPolicy()
    delay = policy.retry_delay(failures, remaining, random, retry_after=retry_after)
    own = policy.retry_delay(failures, remaining, random)
    assert own <= delay <= max(own, remaining / 2)
    if retry_after <= remaining / 2:
        assert delay >= retry_after


@given(remaining=st.floats(0.001, 3600), random=fractions)
def test_looking_again_at_the_same_token_neither_hammers_nor_waits_too_long(
    remaining: float, random: float
) -> None:
    """An issuer that has nothing newer is asked again after about a tenth of what is left."""
    delay = RotationPolicy().recheck_delay(remaining, random)
    assert delay >= MINIMUM_RETRY_DELAY
    assert delay <= max(MINIMUM_RETRY_DELAY, remaining / 8)
    assert delay >= min(remaining, 3000) / 13


def test_one_token_for_an_hour_costs_some_forty_requests() -> None:
    """An issuer that hands out the same token until it ends is asked a bounded number of times."""
    policy, requests = RotationPolicy(), 0
    remaining = 3600 * (1 - policy.renew_at)
    while remaining > 60:
        requests += 1
        remaining -= policy.recheck_delay(remaining, 0.5)
    assert requests < 40


@dataclass(frozen=True, kw_only=True)
class Outage:
    """An issuer's failure, and what a host makes of it.

    Args:
        lifetime: Life of the credential that is to be replaced, in seconds.
        begins: When the issuer fails, as a part of the life; None for the worst moment, which is
            just before renewal is due.
        mode: Whether it hangs, refuses at once, or asks to come back `retry_after` seconds later.
        jitter: Where in the jitter renewal is due.
        random: What spreads the waits.
        lock_wait: Whether another process holds the host's lock for as long as we wait for it.
    """

    lifetime: float
    begins: float | None
    mode: Literal["hangs", "refuses", "throttles"]
    jitter: float
    random: float
    retry_after: float = 0.0
    lock_wait: bool = False

    def left_at_renewal(self, policy: RotationPolicy) -> float:
        """Return the seconds left when the next credential arrives; 0 if it comes too late.

        As `CredentialSource` does it, on a clock of its own.
        """
        due = policy.renewal_time(credentials(self.lifetime), self.jitter) - ISSUED
        begins = due - 0.001 if self.begins is None else self.begins * self.lifetime
        ends = begins + OUTAGE * self.lifetime
        age, failures = due, 0
        while age < self.lifetime:
            if self.lock_wait and begins <= age < ends:
                # Others hold it while their attempts hang, and let go once the issuer is back.
                age += policy.attempt_timeout(self.lifetime - age)
            remaining = self.lifetime - age
            if not begins <= age < ends:
                return max(remaining - A_FETCH, 0.0)
            failures += 1
            if self.mode == "hangs":
                age += policy.attempt_timeout(remaining)
            age += policy.retry_delay(
                failures,
                max(self.lifetime - age, 0.0),
                self.random,
                retry_after=self.retry_after if self.mode == "throttles" else None,
            )
        return 0.0


outages = st.builds(
    Outage,
    lifetime=lifetimes,
    begins=st.none() | fractions,
    mode=st.sampled_from(["hangs", "refuses", "throttles"]),
    jitter=fractions,
    random=fractions,
    retry_after=st.floats(0, 7200),
)


@given(outage=outages)
@example(Outage(lifetime=10, begins=None, mode="hangs", jitter=1.0, random=1.0))
@example(Outage(lifetime=10, begins=None, mode="hangs", jitter=1.0, random=0.0))
@example(Outage(lifetime=20, begins=None, mode="hangs", jitter=1.0, random=1.0))
def test_an_outage_of_three_fifths_of_the_life_is_survived(outage: Outage) -> None:
    """Whenever the issuer fails, in whatever way, the next credential arrives before the end."""
    assert outage.left_at_renewal(RotationPolicy()) > in_flight_margin(outage.lifetime)


@given(lifetime=lifetimes, begins=st.none() | fractions, jitter=fractions, random=fractions)
@example(lifetime=10, begins=None, jitter=1.0, random=1.0)
def test_the_outage_is_survived_while_processes_wait_for_each_other(
    lifetime: float, begins: float | None, jitter: float, random: float
) -> None:
    """A process that first waits for another's hanging attempt still gets its turn in time."""
    outage = Outage(
        lifetime=lifetime,
        begins=begins,
        mode="hangs",
        jitter=jitter,
        random=random,
        lock_wait=True,
    )
    assert outage.left_at_renewal(RotationPolicy()) > in_flight_margin(lifetime)


@given(lifetime=lifetimes, renew_at=st.floats(0.5, 0.9), random=fractions)
def test_the_guarantee_comes_from_starting_early(
    lifetime: float, renew_at: float, random: float
) -> None:
    """Renewal that starts at half of the life or later does not survive what the default does."""
    outage = Outage(lifetime=lifetime, begins=0.45, mode="refuses", jitter=0.0, random=random)
    assert outage.left_at_renewal(RotationPolicy(renew_at=renew_at, jitter=0.0)) == 0
    assert outage.left_at_renewal(RotationPolicy()) > lifetime / 2


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("renew_at", 0.0),
        ("renew_at", -0.1),
        ("renew_at", 0.95),
        ("renew_at", math.nan),
        ("jitter", -0.01),
        ("jitter", 0.6),
        ("jitter", math.nan),
        ("timeout", 0.0),
        ("timeout", -1.0),
        ("timeout", 301.0),
        ("timeout", math.nan),
    ],
)
def test_values_that_could_not_renew_in_time_are_refused(setting: str, value: float) -> None:
    """A policy that cannot work is an error that names the setting, not a late surprise."""
    with pytest.raises(ConfigurationError, match=setting):
        RotationPolicy(**{setting: value})


def test_jitter_must_leave_something_of_the_life() -> None:
    """Late renewal and wide jitter together could pass the end."""
    with pytest.raises(ConfigurationError, match="jitter"):
        RotationPolicy(renew_at=0.8, jitter=0.2)
