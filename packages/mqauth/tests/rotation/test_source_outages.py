"""What a source does while its issuer is down, refuses, hangs or answers nonsense."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mqauth import (
    CredentialError,
    CredentialExpiring,
    CredentialSource,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
    RenewalFailed,
    RotationPolicy,
)
from mqauth.rotation import freshness
from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.rotation.waiting import renewal_thread

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Listener, Process, Recorder

PATIENCE = 30.0
EARLY = RotationPolicy(renew_at=0.02, jitter=0.0)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("down", IssuerUnavailableError),
        ("error500", IssuerUnavailableError),
        ("throttle", IssuerUnavailableError),
        ("html", IssuerUnavailableError),
        ("not_json", IssuerUnavailableError),
        ("not_jwt", InvalidCredentialError),
        ("expired", InvalidCredentialError),
    ],
)
def test_every_failure_is_remembered_and_overcome(
    issuer: OidcIssuer,
    source: CredentialSource,
    recorder: Recorder,
    mode: FaultMode,
    kind: type[MQAuthError],
) -> None:
    """The first failure is told to all who ask until the back-off is over, then all is well."""
    issuer.faults.mode = mode
    with pytest.raises(CredentialError) as caught:
        source.get()
    assert isinstance(caught.value, kind)
    assert caught.value.retryable
    failure = recorder.of(RenewalFailed)[0]
    source._retry_at = time.monotonic() + 60.0
    for _ in range(100):
        with pytest.raises(kind) as again:
            source.get()
        assert again.value is not caught.value
        assert str(again.value) == str(caught.value) == failure.error
    assert recorder.of(RenewalFailed) == [failure]
    assert issuer.requests <= 1
    source._retry_at = time.monotonic()
    issuer.faults.mode = "none"
    assert not source.get().expired()
    assert source.status().last_error is None
    assert source.status().failures_in_a_row == 0


def test_a_hanging_issuer_costs_no_more_than_the_time_limit(
    issuer: OidcIssuer,
    make_source: Callable[..., CredentialSource],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing is at hand, `get` gives up after `timeout` seconds, for all who wait."""
    issuer.faults.mode = "hang"
    monkeypatch.setattr(freshness, "FIRST_RETRY_DELAY", 10.0)
    source = make_source(timeout=5.0)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        outcomes = [pool.submit(source.get) for _ in range(8)]
        errors = [outcome.exception(PATIENCE) for outcome in outcomes]
    assert {type(error) for error in errors} == {IssuerUnavailableError}
    assert 5.0 <= time.monotonic() - began < 25.0
    assert issuer.requests == 1


def test_a_refusal_is_permanent_and_asked_for_again_only_after_long(
    issuer: OidcIssuer, make_source: Callable[..., CredentialSource], recorder: Recorder
) -> None:
    """A wrong secret is refused once: no thread and no back-off of half a second asks again."""
    source = make_source(client_secret="wrong" * 5)
    with ThreadPoolExecutor(16) as pool:
        outcomes = [pool.submit(source.get) for _ in range(64)]
        errors = [outcome.exception(PATIENCE) for outcome in outcomes]
    assert {type(error) for error in errors} == {IssuerRefusedError}
    assert issuer.requests == 1
    (failure,) = recorder.of(RenewalFailed)
    assert not failure.retryable
    assert failure.retry_in >= 20


def test_a_refused_renewal_leaves_the_present_credential_in_use(
    issuer: OidcIssuer, make_source: Callable[..., CredentialSource], recorder: Recorder
) -> None:
    """A client that was shut out keeps working until its credential ends, without hammering."""
    issuer.token_lifetime = 100.0
    source = make_source()
    present = source.get()
    issuer.client_secret = "changed"
    source.policy = EARLY
    renewal_thread(source).wake()
    (failure,) = recorder.wait_for(RenewalFailed)
    assert source.get() is present
    assert not failure.retryable
    assert failure.expires_at == present.expires_at
    assert 5 < failure.retry_in <= failure.remaining / 8
    assert issuer.requests == 2


def test_retry_after_is_obeyed_within_the_remaining_life(
    issuer: OidcIssuer,
    make_source: Callable[..., CredentialSource],
    recorder: Recorder,
) -> None:
    """A throttling issuer gets the pause it asks for where the present credential allows it."""
    issuer.token_lifetime = 100.0
    source = make_source()
    present = source.get()
    issuer.faults.mode, issuer.faults.retry_after = "throttle", 20.0
    source.policy = EARLY
    renewal_thread(source).wake()
    (failure,) = recorder.wait_for(RenewalFailed)
    assert failure.retry_in == 20.0
    assert source.get() is present


def test_threads_that_keep_asking_do_not_shorten_the_back_off(
    issuer: OidcIssuer, source: CredentialSource, recorder: Recorder
) -> None:
    """With no credential at hand and eight threads in a loop, each request is one failure."""
    issuer.faults.mode = "error500"
    stop = threading.Event()

    def insist() -> None:
        while not stop.wait(0.002):
            with pytest.raises(IssuerUnavailableError):
                source.get()

    with ThreadPoolExecutor(8) as pool:
        users = [pool.submit(insist) for _ in range(8)]
        recorder.wait_for(RenewalFailed, 3)
        stop.set()
        for user in users:
            user.result(PATIENCE)
    failures = recorder.of(RenewalFailed)
    assert issuer.requests == len(failures) == source.status().failures
    assert [failure.failures for failure in failures] == list(range(1, len(failures) + 1))
    times = [request.at for request in issuer.token_requests]
    for failure, begun, again in zip(failures, times, times[1:], strict=False):
        assert again - begun >= failure.retry_in


def test_an_outage_of_three_fifths_of_a_life_goes_unnoticed(
    issuer: OidcIssuer, source: CredentialSource, new_listener: type[Listener]
) -> None:
    """The issuer hangs for 60 % of a life: every `get` succeeds, and connections are renewed."""
    issuer.token_lifetime = 25.0
    listener = new_listener()
    source.attach(listener)
    first = source.get()
    with issuer.faults.during("hang"):
        until = time.monotonic() + 0.6 * issuer.token_lifetime
        while time.monotonic() < until:
            assert source.get() is first
            assert not first.expired()
            time.sleep(0.01)
    assert source.status().failures > 0
    renewed = listener.wait_for(1)[0]
    assert not first.expired(), "renewed too late"
    assert source.get() == renewed


def test_after_an_outage_past_expiry_it_recovers_by_itself(
    issuer: OidcIssuer,
    source: CredentialSource,
    recorder: Recorder,
    new_listener: type[Listener],
) -> None:
    """It says that nothing valid is left, and renews unasked when the issuer is back."""
    issuer.token_lifetime = 3.0
    listener = new_listener()
    source.attach(listener)
    first = source.get()
    with issuer.faults.during("down"):
        while not any(event.remaining == 0 for event in recorder.of(CredentialExpiring)):
            recorder.wait_for(RenewalFailed, len(recorder.of(RenewalFailed)) + 1)
        assert first.expired()
        with pytest.raises(IssuerUnavailableError):
            source.get()
        assert source.status().last_error is not None
    assert recorder.of(RenewalFailed)[-1].retry_in < 5, "the back-off begins anew at expiry"
    renewed = listener.wait_for(1)[0]
    assert not renewed.expired()
    assert source.status().last_error is None


def test_a_process_suspended_past_expiry_recovers(
    issuer: OidcIssuer, start_process: Callable[..., Process]
) -> None:
    """After SIGSTOP beyond the end and SIGCONT, the next use and the background both renew."""
    issuer.token_lifetime = 3.0
    process = start_process(cache=False)
    first = process.ask("get")
    process.signal(signal.SIGSTOP)
    try:
        time.sleep(first["remaining"] + 0.2)
    finally:
        process.signal(signal.SIGCONT)
    later = process.ask("get")
    assert later["token"] != first["token"]
    assert later["remaining"] > 0
    assert process.ask("wait", rotations=2)["rotations"] >= 2
