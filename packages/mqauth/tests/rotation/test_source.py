"""One source: a fetch per rotation however many use it, renewed before anybody notices."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mqauth import (
    BrokerCredentials,
    CredentialExpiredError,
    CredentialRenewed,
    CredentialSource,
    Freshness,
    IssuerUnavailableError,
    MQAuthError,
    RenewalFailed,
    RotationPolicy,
)
from mqauth.rotation import renewal
from mqauth.rotation.listeners import Listeners
from mqauth.rotation.renewal import RenewalThread
from mqauth_sandbox.oidc import OidcIssuer

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Listener, Recorder, ScriptedProvider

PATIENCE = 30.0
EARLY = RotationPolicy(renew_at=0.02, jitter=0.0)
"""Makes a credential of 100 s due after two, with much left to look at what happens then."""


def renewal_thread(source: CredentialSource) -> RenewalThread:
    """Return the thread that keeps `source` fresh."""
    thread = source._thread
    assert thread is not None
    return thread


def wait_until_expired(credentials: BrokerCredentials) -> None:
    """Return once `credentials` have run out."""
    while not credentials.expired():
        time.sleep(max(credentials.remaining(), 0.01))


def in_threads(count: int, work: Callable[[], BrokerCredentials]) -> list[object]:
    """Return what `work` returned or raised in each of `count` threads that began together."""
    start = threading.Barrier(count)

    def run() -> object:
        start.wait(PATIENCE)
        try:
            return work()
        except MQAuthError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(count)]]


# One fetch, however many ask


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
    issuer.token_lifetime = 4.0
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
    expiring = scripted.credentials(lifetime=0.2)
    failure = IssuerUnavailableError("the issuer is down", retry_after=30)
    asked, fail = threading.Event(), threading.Event()

    def fetch(timeout: float) -> BrokerCredentials:
        asked.set()
        assert fail.wait(PATIENCE)
        raise failure

    provider = scripted(expiring, fetch)
    source = source_of(provider)
    source.get()
    source.close()
    wait_until_expired(expiring)
    with ThreadPoolExecutor(1) as pool:
        outcomes = pool.submit(in_threads, 16, source.get)
        assert asked.wait(PATIENCE)
        fail.set()
        errors = outcomes.result(PATIENCE)
    assert provider.fetches == 2
    assert {type(error) for error in errors} == {IssuerUnavailableError}
    assert len({id(error) for error in errors}) == 16, "one instance raised twice"


# Stale while valid, renewed in the background


def test_a_due_credential_is_handed_out_while_the_issuer_hangs(
    issuer: OidcIssuer, make_source: Callable[..., CredentialSource], recorder: Recorder
) -> None:
    """Nobody waits for a renewal as long as the present credential lasts."""
    issuer.token_lifetime = 100.0
    source = make_source(policy=EARLY)
    present = source.get()
    issuer.faults.mode = "hang"
    assert issuer.wait_for_requests(2, PATIENCE)
    assert in_threads(8, source.get) == [present] * 8
    assert source.status().freshness is Freshness.DUE
    assert issuer.requests == 2
    assert not recorder.of(RenewalFailed), "the request was given up before the test was over"


def test_renewal_happens_without_anybody_asking(
    issuer: OidcIssuer, source: CredentialSource, new_listener: type[Listener]
) -> None:
    """A process that only holds a connection open gets one new credential after the other."""
    issuer.token_lifetime = 3.0
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
    source._last_used = -math.inf
    ending = renewal_thread(source)
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
    provider = scripted(scripted.credentials(lifetime=0.5), scripted.credentials())
    source = source_of(provider)
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


# Who is told


def test_a_renewal_that_another_thread_fetched_is_delivered_at_once(
    source: CredentialSource, new_listener: type[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch by whoever asked wakes the renewal thread, however long that meant to sleep."""
    monkeypatch.setattr(renewal, "LONGEST_SLEEP", 1000.0)
    listener = new_listener()
    source.attach(listener)
    source.invalidate(source.get())
    assert listener.wait_for(1) == [source.get()]


def test_a_busy_listener_is_asked_again_and_holds_nobody_up(
    issuer: OidcIssuer, source: CredentialSource, new_listener: type[Listener]
) -> None:
    """One connection is busy for ever: the others, and renewal itself, go on."""
    issuer.token_lifetime = 3.0
    stuck, slow, ready = new_listener(busy=-1), new_listener(busy=3), new_listener()
    source.get()
    for listener in (stuck, slow, ready):
        source.attach(listener)
    ready.wait_for(2)
    slow.wait_for(1)
    stuck.wait_for_refusals(3)
    assert slow.refusals == 3
    assert stuck.carried == []
    stuck.busy = 0
    newest = stuck.wait_for(1)[0]
    assert newest.local_expiry >= ready.carried[1].local_expiry, "what was missed is not made up"


def test_a_broken_listener_does_not_keep_the_news_from_the_others(
    source: CredentialSource, new_listener: type[Listener], caplog: pytest.LogCaptureFixture
) -> None:
    """A listener that raises is logged, and hears of the next credential as others do."""
    broken, ready = new_listener(raises=True), new_listener()
    source.attach(broken)
    source.attach(ready)
    for count in (1, 2):
        source.invalidate(source.get())
        source.get()
        broken.wait_for(count)
        ready.wait_for(count)
    assert "a connection could not be renewed: ConnectionResetError" in caplog.text


def test_listeners_are_held_weakly_and_can_leave(
    source: CredentialSource, new_listener: type[Listener]
) -> None:
    """A connection that is gone or has said goodbye is not told, and is not kept alive."""
    gone, left, stays = new_listener(), new_listener(), new_listener()
    for listener in (gone, left, stays):
        source.attach(listener)
    assert source.status().connections == 3
    del gone, listener
    gc.collect()
    source.detach(left)
    source.detach(left)
    assert source.status().connections == 1
    source.invalidate(source.get())
    source.get()
    stays.wait_for(1)
    assert left.carried == []


def test_a_credential_announced_during_a_delivery_is_delivered_too(
    scripted: type[ScriptedProvider],
) -> None:
    """Whoever takes one credential over while the next one comes is told about that one as well."""
    listeners, first, second = Listeners(), scripted.credentials(), scripted.credentials()
    carried = []

    class Connection:
        def credentials_renewed(self, credentials: BrokerCredentials) -> bool:
            carried.append(credentials)
            if credentials is first:
                listeners.announce(second)
            return True

    connection = Connection()
    listeners.add(connection)
    listeners.announce(first)
    assert listeners.deliver() is False
    assert listeners.deliver() is True
    assert carried == [first, second]


def test_a_rejected_credential_is_not_delivered_any_more(
    source: CredentialSource, new_listener: type[Listener]
) -> None:
    """A connection that was busy does not take over what the broker has refused meanwhile."""
    busy = new_listener(busy=-1)
    source.attach(busy)
    source.invalidate(source.get())
    refused = source.get()
    busy.wait_for_refusals(1)
    source.invalidate(refused)
    busy.busy = 0
    accepted = source.get()
    assert busy.wait_for(1) == [accepted]


# Invalidation


def test_only_the_rejected_value_is_thrown_away(
    issuer: OidcIssuer, source: CredentialSource
) -> None:
    """A late rejection of an old credential leaves the newer one alone."""
    old = source.get()
    source.invalidate(old)
    new = source.get()
    assert new.password != old.password
    source.invalidate(old)
    assert source.get() == new
    assert issuer.fetches == 2
    assert source.status().invalidations == 1


def test_threads_that_reject_the_same_credential_cause_one_fetch(
    issuer: OidcIssuer, source: CredentialSource
) -> None:
    """Many connections refused at once are one refusal and one new credential."""
    rejected = source.get()

    def refused() -> BrokerCredentials:
        source.invalidate(rejected)
        return source.get()

    outcomes = in_threads(16, refused)
    assert set(map(id, outcomes)) == {id(source.current)}
    assert issuer.fetches == 2
    assert source.status().invalidations == 1


def test_a_rejection_does_not_wait_for_the_back_off(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """What the broker refuses is of no use, so the issuer is asked although it has just failed."""
    present, newer = scripted.credentials(age=298.0), scripted.credentials()
    failure = IssuerUnavailableError("the issuer is down", retry_after=300)
    provider = scripted(present, failure, newer)
    source = source_of(provider)
    source.get()
    source.close()
    source._retry_at = -math.inf
    assert source.get() == present, "a failure close to the end does not lose what still works"
    assert source.get() == present
    assert provider.fetches == 2
    source.invalidate(present)
    assert source.get() == newer


# Clocks and ends


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_an_issuer_whose_clock_is_wrong_changes_nothing(
    issuer: OidcIssuer, source: CredentialSource, new_listener: type[Listener], skew: float
) -> None:
    """Expiry is judged on the issuer's clock, renewal happens on ours."""
    issuer.faults.clock_skew = skew
    issuer.token_lifetime = 4.0
    listener = new_listener()
    source.attach(listener)
    credentials = source.get()
    assert credentials.clock_skew == pytest.approx(skew, abs=2)
    assert -1 < credentials.remaining() < 6
    assert source.status().clock_skew == credentials.clock_skew
    listener.wait_for(1)
    assert source.status().failures == 0


def test_an_expired_credential_is_never_handed_out(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """One that runs out during a last attempt to replace it ends in the attempt's error."""
    present = scripted.credentials(lifetime=1.0)
    given_up = threading.Event()

    def hang(timeout: float) -> BrokerCredentials:
        given_up.wait(timeout)
        raise IssuerUnavailableError("the issuer did not answer in time")

    source = source_of(scripted(present, hang))
    source.get()
    source.close()
    while present.remaining() > source.policy.login_margin(present):
        time.sleep(0.005)
    with pytest.raises(IssuerUnavailableError):
        source.get()
    assert present.expired()


def test_a_credential_that_is_dead_on_arrival_is_an_error(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """What a provider gives is checked once more before anybody signs in with it."""
    source = source_of(scripted(scripted.credentials(lifetime=60, age=61)))
    with pytest.raises(CredentialExpiredError, match="already expired"):
        source.get()
    assert source.current is None


def test_tokens_that_are_due_on_arrival_do_not_make_it_hammer_the_issuer(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """An issuer that hands out tokens late in their life is asked again after a pause."""
    source = source_of(scripted(lambda _: scripted.credentials(lifetime=3660, age=3600)))
    source.get()
    pause = source.tick()
    assert pause is not None
    assert 4 < pause < 8, "a tenth of the minute that is left"


def test_an_issuer_that_repeats_its_token_is_no_failure_and_no_rotation(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    new_listener: type[Listener],
    recorder: Recorder,
) -> None:
    """The same token again changes nothing, and the one after it reaches the connections."""
    repeated = scripted.credentials(lifetime=4.0, age=2.0)
    provider = scripted(repeated, repeated, repeated, scripted.credentials())
    source = source_of(provider)
    listener = new_listener()
    source.attach(listener)
    source.get()
    assert listener.wait_for(1)[0] != repeated
    assert provider.fetches == 4
    assert len(recorder.of(CredentialRenewed)) == 1
    assert not recorder.of(RenewalFailed)
    assert source.status().rotations == 1


# Defects of others


def test_a_provider_with_a_defect_is_an_error_of_ours_and_is_tried_again(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A third party's `KeyError` reaches callers as an error they handle, and the log in full."""
    source = source_of(scripted(KeyError("access_token"), scripted.credentials()))
    with pytest.raises(MQAuthError, match="the provider failed with KeyError") as caught:
        source.get()
    assert caught.value.retryable
    assert isinstance(caught.value.__cause__, KeyError)
    assert "the provider scripted failed unexpectedly" in caplog.text
    with pytest.raises(MQAuthError, match="KeyError"):
        source.get()
    source._retry_at = -math.inf
    assert not source.get().expired()


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
