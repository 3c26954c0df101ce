"""Events: what hooks hear, in which order, and that nothing a hook does harms rotation."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mqauth import (
    CredentialEvent,
    CredentialExpiring,
    CredentialFetched,
    CredentialRenewed,
    CredentialSource,
    IssuerRefusedError,
    IssuerUnavailableError,
    RenewalFailed,
    events,
)
from mqauth_sandbox.oidc import OidcIssuer

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Listener, Recorder, ScriptedProvider


def test_a_life_with_an_outage_tells_its_story_in_order(
    issuer: OidcIssuer, source: CredentialSource, recorder: Recorder
) -> None:
    """Fetched, then renewed, then failed: with who, until when, and the counts of the status."""
    source.close()  # its thread would replace what is thrown away, too
    first = source.get()
    source.invalidate(first)
    second = source.get()
    source.invalidate(second)
    issuer.faults.mode = "error500"
    with pytest.raises(IssuerUnavailableError) as caught:
        source.get()
    fetched, fetched_again, renewed, failed, expiring = recorder.all
    assert isinstance(fetched, CredentialFetched)
    assert isinstance(fetched_again, CredentialFetched)
    assert isinstance(renewed, CredentialRenewed)
    assert isinstance(failed, RenewalFailed)
    assert isinstance(expiring, CredentialExpiring)
    assert {event.provider for event in recorder.all} == {"oauth2"}
    assert {event.identity for event in recorder.all} == {source.provider.identity}
    assert fetched.expires_at == first.expires_at
    assert fetched.seconds > 0
    assert renewed.expires_at == second.expires_at
    assert not renewed.shared
    assert failed.error == str(caught.value)
    assert (failed.retryable, failed.failures, failed.remaining) == (True, 1, 0.0)
    assert (failed.expires_at, expiring.expires_at, expiring.remaining) == (None, None, 0.0)
    status = source.status()
    counts = (status.fetches, status.rotations, status.failures, status.invalidations)
    assert counts == (2, 1, 1, 2)


def test_a_credential_of_the_hosts_cache_is_renewed_as_shared(
    make_source: Callable[..., CredentialSource], recorder: Recorder, tmp_path: Path
) -> None:
    """Hooks can tell a fetch from a credential that another user of the cache fetched."""
    cache = str(tmp_path / "cache")
    here, there = make_source(cache=cache), make_source(cache=cache)
    for source in (here, there):
        source.close()  # its thread would replace what is thrown away, too
    old = here.get()
    assert there.get() == old
    there.invalidate(old)
    there.get()
    here.invalidate(old)
    assert here.get() == there.get()
    assert len(recorder.of(CredentialFetched)) == 2
    assert [event.shared for event in recorder.of(CredentialRenewed)] == [False, True]
    assert [(s.status().fetches, s.status().shared) for s in (here, there)] == [(1, 1), (1, 1)]


def test_little_time_left_is_announced_once_per_step(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    new_listener: type[Listener],
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While renewal fails, a quarter, a tenth and nothing left are each said once, loudly."""
    down = IssuerUnavailableError("the issuer is down")
    source = source_of(scripted(scripted.credentials(lifetime=2.0), down))
    listener = new_listener()
    source.attach(listener)
    source.get()
    while not any(event.remaining == 0 for event in recorder.of(CredentialExpiring)):
        recorder.wait_for(RenewalFailed, len(recorder.of(RenewalFailed)) + 1)
    recorder.wait_for(RenewalFailed, len(recorder.of(RenewalFailed)) + 1)
    announced = [event.remaining for event in recorder.of(CredentialExpiring)]
    assert 1 <= len(announced) <= 3
    assert announced == sorted(announced, reverse=True)
    assert announced[0] <= 0.5
    assert announced[-1] == 0.0
    assert len(set(announced)) == len(announced)
    loud = [
        r
        for r in caplog.records
        if r.name == "mqauth.rotation.announcements" and r.levelno == logging.ERROR
    ]
    assert len(loud) == len(announced)


def test_a_hook_that_raises_harms_nobody(
    issuer: OidcIssuer,
    source: CredentialSource,
    recorder: Recorder,
    new_listener: type[Listener],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The failing hook is logged; other hooks, the caller and the renewal thread go on."""

    def fails(event: CredentialEvent) -> None:
        raise ZeroDivisionError("in the user's code")

    issuer.token_lifetime = 3.0
    unsubscribe_first = events.subscribe(fails)
    late: list[CredentialEvent] = []
    unsubscribe_last = events.subscribe(late.append)
    try:
        listener = new_listener()
        source.attach(listener)
        source.get()
        listener.wait_for(2)
        recorder.wait_for(CredentialRenewed, 2)
    finally:
        unsubscribe_first()
        unsubscribe_last()
    assert len(late) >= 4
    assert "a hook failed on CredentialFetched" in caplog.text


def test_a_hook_may_look_at_the_source(source: CredentialSource) -> None:
    """What a hook hears of has already happened, so it can ask for it without waiting."""
    seen: list[tuple[str, int, object]] = []

    def look(event: CredentialEvent) -> None:
        seen.append((type(event).__name__, source.status().fetches, source.get()))

    unsubscribe = events.subscribe(look)
    try:
        first = source.get()
        source.invalidate(first)
        second = source.get()
    finally:
        unsubscribe()
    assert seen == [
        ("CredentialFetched", 1, first),
        ("CredentialFetched", 2, second),
        ("CredentialRenewed", 2, second),
    ]


def test_a_subscription_ends_when_told_to() -> None:
    """After `unsubscribe`, which may be called twice, a hook hears nothing."""
    heard: list[CredentialEvent] = []
    unsubscribe = events.subscribe(heard.append)
    event = CredentialExpiring(provider="p", identity="i", expires_at=None, remaining=0.0)
    events.emit(event)
    unsubscribe()
    unsubscribe()
    events.emit(event)
    assert heard == [event]


def test_ending_one_of_two_equal_subscriptions_leaves_the_other() -> None:
    """Two parts of a program that subscribe the same function do not end each other's."""
    heard: list[CredentialEvent] = []
    ends = [events.subscribe(heard.append) for _ in range(2)]
    event = CredentialExpiring(provider="p", identity="i", expires_at=None, remaining=0.0)
    ends[0]()
    ends[0]()
    events.emit(event)
    ends[1]()
    events.emit(event)
    assert heard == [event]


def test_events_cannot_be_changed() -> None:
    """A hook gets facts, not a place to leave notes for the next hook."""
    event = CredentialExpiring(provider="p", identity="i", expires_at=None, remaining=0.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.remaining = 1.0  # type: ignore[misc]


def test_no_recovery_is_promised_where_asking_again_changes_nothing(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What somebody has to correct is told with its remedy, and what may pass with its prospect."""
    refusal = IssuerRefusedError("the series has ended", remedy="sign in anew")
    with pytest.raises(IssuerRefusedError):
        source_of(scripted(refusal)).get()
    assert "no valid credential; asking again changes nothing: sign in anew" in caplog.text
    assert "come back by themselves" not in caplog.text
    with pytest.raises(IssuerUnavailableError):
        source_of(scripted(IssuerUnavailableError("it is down"))).get()
    assert "come back by themselves once the issuer answers" in caplog.text
