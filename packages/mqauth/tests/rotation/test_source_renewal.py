"""A source renews in the background while the present credential lasts, by a thread of its own."""

from __future__ import annotations

import gc
import itertools
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from mqauth import CredentialSource, Freshness, RenewalFailed, RotationPolicy
from mqauth.rotation import renewal
from mqauth.rotation.renewal import RenewalThread
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.rotation.waiting import (
    OFTEN,
    PATIENCE,
    in_threads,
    renewal_thread,
    wait_until_expired,
)

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Listener, Recorder, ScriptedProvider

EARLY = RotationPolicy(renew_at=0.02, jitter=0.0, timeout=60.0)
"""Makes a credential of 100 s due after two, with much left to look at what happens then."""


def test_a_due_credential_is_handed_out_while_the_issuer_hangs(
    issuer: OidcIssuer, make_source: Callable[..., CredentialSource], recorder: Recorder
) -> None:
    """Nobody waits for a renewal as long as the present credential lasts."""
    issuer.token_lifetime = 100.0
    source = make_source()
    present = source.get()
    issuer.faults.mode = "hang"
    source.policy = EARLY
    renewal_thread(source).wake()
    assert issuer.wait_for_requests(2, PATIENCE)
    assert in_threads(8, source.get) == [present] * 8
    assert source.status().freshness is Freshness.DUE
    assert issuer.requests == 2
    assert not recorder.of(RenewalFailed), "the request was given up before the test was over"


def test_renewal_happens_without_anybody_asking(
    issuer: OidcIssuer, source: CredentialSource, new_listener: type[Listener]
) -> None:
    """A process that only holds a connection open gets one new credential after the other."""
    issuer.token_lifetime = 50.0
    source.policy = OFTEN
    listener = new_listener()
    first = source.get()
    source.attach(listener)
    renewed = listener.wait_for(3)
    assert first not in renewed
    assert len({credentials.password for credentials in renewed}) == len(renewed)
    ends = [c.local_expiry for c in [first, *renewed]]
    assert ends == sorted(ends)


def test_each_rotation_draws_its_own_place_in_the_jitter(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """Many hosts that start together do not stay together."""
    drawn = set()
    for _ in range(5):
        source = source_of(scripted(lambda _: scripted.credentials()))
        for _ in range(5):
            source.invalidate(source.get())
            drawn.add(source._jitter)
    assert all(0 <= place <= 1 for place in drawn)
    assert len(drawn) > 20


def test_the_thread_ends_when_nobody_uses_the_source_and_comes_back(
    issuer: OidcIssuer, source: CredentialSource, new_listener: type[Listener]
) -> None:
    """After a whole life without use the thread ends, and the next use brings another."""
    issuer.token_lifetime = 2.0
    source.get()
    idle = renewal_thread(source)
    idle.join(PATIENCE)
    assert not idle.is_alive()
    fetches = issuer.fetches
    assert not source.get().expired()
    assert issuer.fetches <= fetches + 1
    listener = new_listener()
    source.attach(listener)
    assert renewal_thread(source) is not idle
    listener.wait_for(1)


def test_attaching_while_the_idle_thread_ends_brings_another_thread(
    source: CredentialSource, new_listener: type[Listener]
) -> None:
    """Between the thread's last look and its end nobody is left without a thread."""
    source.get()
    ending = renewal_thread(source)
    source._last_used = -math.inf
    assert source.tick() is None, "from here on the thread only has to end"
    listener = new_listener()
    source.attach(listener)
    assert renewal_thread(source) is not ending
    ending.wake()
    source.invalidate(source.get())
    source.get()
    listener.wait_for(1)


def test_the_thread_ends_with_its_source(
    scripted: type[ScriptedProvider], new_listener: type[Listener]
) -> None:
    """A source that nobody refers to any more leaves no thread behind."""
    source = CredentialSource(scripted(scripted.credentials()))
    listener = new_listener()
    source.attach(listener)
    source.get()
    thread = renewal_thread(source)
    del source
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_close_ends_the_thread_and_leaves_the_source_usable(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """After `close` nothing happens by itself any more, but `get` still answers."""
    provider = scripted(scripted.credentials(lifetime=3.0), scripted.credentials())
    source = source_of(provider, policy=RotationPolicy(renew_at=0.9, jitter=0.0))
    first = source.get()
    thread = renewal_thread(source)
    source.close()
    source.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    wait_until_expired(first)
    assert provider.fetches == 1
    assert not source.get().expired()
    assert provider.fetches == 2
    assert source._thread is None


def test_a_host_without_threads_to_spare_still_hands_out_credentials(
    source: CredentialSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Renewal in the background may be impossible; signing in is not."""

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(RenewalThread, "start", no_thread)
        assert not source.get().expired()
    assert "cannot renew in the background" in caplog.text
    source.get()
    assert renewal_thread(source).is_alive()


def test_the_renewal_thread_survives_a_defect(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    new_listener: type[Listener],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever goes wrong once in the background, later renewals take place."""
    monkeypatch.setattr(renewal, "AFTER_DEFECT", 0.01)
    source = source_of(scripted(lambda _: scripted.credentials(lifetime=1.0)))
    listener = new_listener()
    source.get()

    def defect(*_: object) -> float:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(RotationPolicy, "renewal_time", defect)
    source.attach(listener)
    renewal_thread(source).wake()
    listener.wait_for(2)


def test_a_defect_of_a_renewal_waits_as_after_any_failure(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    new_listener: type[Listener],
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is no error of ours counts as a failure, so that it is not repeated without a pause."""
    source = source_of(scripted(lambda _: scripted.credentials(lifetime=2.0)))
    source.get()
    monkeypatch.setattr(source, "_take", lambda *_, **__: "\ud800".encode())
    listener = new_listener()
    source.attach(listener)
    failed = recorder.wait_for(RenewalFailed, 2)
    assert "UnicodeEncodeError" in failed[0].error
    assert failed[0].retry_in > 0
    assert source.status().failures_in_a_row >= 2


def test_defects_are_spread_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that always breaks is called ever more seldom, whoever wakes the thread."""
    monkeypatch.setattr(renewal, "AFTER_DEFECT", 0.05)
    monkeypatch.setattr(renewal, "LONGEST_AFTER_DEFECT", 0.4)
    calls: list[float] = []
    enough = threading.Event()

    class Broken:
        def tick(self) -> float:
            calls.append(time.monotonic())
            thread.wake()
            if len(calls) == 6:
                enough.set()
            raise ZeroDivisionError

    broken = Broken()
    thread = RenewalThread(broken, "broken")
    thread.start()
    assert enough.wait(20)
    thread.stop()
    thread.join(10)
    assert not thread.is_alive()
    pauses = [later - sooner for sooner, later in itertools.pairwise(calls)]
    for pause, least in zip(pauses, (0.05, 0.1, 0.2, 0.4, 0.4), strict=False):
        assert pause >= least * 0.9
