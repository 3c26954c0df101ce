"""One fetch of a source, however many ask for a credential."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mqauth import BrokerCredentials, CredentialRenewed, CredentialSource, IssuerUnavailableError
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.rotation.waiting import (
    OFTEN,
    PATIENCE,
    in_threads,
    renewal_thread,
)

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Recorder, ScriptedProvider


def test_threads_that_ask_at_once_cause_one_fetch(
    issuer: OidcIssuer, source: CredentialSource
) -> None:
    """Thirty-two threads ask at the same moment: the issuer sees one of them."""
    issuer.faults.mode, issuer.faults.delay = "slow", 0.3
    outcomes = in_threads(32, source.get)
    assert outcomes == [source.current] * 32
    assert issuer.requests == issuer.fetches == 1


def test_threads_that_never_stop_asking_cause_one_fetch_a_rotation(
    issuer: OidcIssuer, source: CredentialSource, recorder: Recorder
) -> None:
    """Over several rotations under constant use, fetches are one more than rotations."""
    issuer.token_lifetime = 50.0
    source.policy = OFTEN
    stop, seen = threading.Event(), set()

    def use() -> None:
        while not stop.wait(0.002):
            credentials = source.get()
            assert credentials.remaining() > -0.5
            seen.add(credentials.password)

    with ThreadPoolExecutor(8) as pool:
        users = [pool.submit(use) for _ in range(8)]
        recorder.wait_for(CredentialRenewed, 3)
        stop.set()
        for user in users:
            user.result(PATIENCE)
    thread = renewal_thread(source)
    source.close()
    thread.join(PATIENCE)
    rotations = source.status().rotations
    assert issuer.requests == issuer.fetches == rotations + 1
    assert 3 <= len(seen) <= rotations + 1


def test_whoever_saw_the_old_credential_does_not_replace_the_new_one(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """A thread that was held up between its look and its fetch takes what came meanwhile."""
    provider = scripted(lambda _: scripted.credentials())
    source = source_of(provider)
    old = source.get()
    source.invalidate(old)
    new = source.get()
    assert source._attempt(old) == new
    assert source._attempt(None) == new
    assert provider.fetches == 2


def test_all_who_wait_for_a_fetch_share_its_failure(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """One attempt fails for everyone who waited for it, also where an expired one is at hand."""
    failure = IssuerUnavailableError("the issuer is down", retry_after=30)
    asked, fail = threading.Event(), threading.Event()

    def fetch(timeout: float) -> BrokerCredentials:
        asked.set()
        assert fail.wait(PATIENCE)
        raise failure

    provider = scripted(fetch)
    source = source_of(provider)
    source._current = scripted.credentials(lifetime=60, age=61)
    with ThreadPoolExecutor(1) as pool:
        outcomes = pool.submit(in_threads, 16, source.get)
        assert asked.wait(PATIENCE)
        fail.set()
        errors = outcomes.result(PATIENCE)
    assert provider.fetches == 1
    assert {type(error) for error in errors} == {IssuerUnavailableError}
    assert len({id(error) for error in errors}) == 16, "one instance raised twice"
