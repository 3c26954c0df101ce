"""What a source makes of providers with wrong clocks, dead or repeated tokens, or defects."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mqauth import (
    BrokerCredentials,
    CredentialExpiredError,
    CredentialRenewed,
    CredentialSource,
    InvalidCredentialError,
    IssuerUnavailableError,
    MQAuthError,
    RenewalFailed,
)
from mqauth.rotation import freshness
from mqauth.secret import Secret
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.rotation.waiting import OFTEN, wait_until_expired

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Listener, Recorder, ScriptedProvider


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_an_issuer_whose_clock_is_wrong_changes_nothing(
    issuer: OidcIssuer, source: CredentialSource, new_listener: type[Listener], skew: float
) -> None:
    """Expiry is judged on the issuer's clock, renewal happens on ours."""
    issuer.faults.clock_skew = skew
    issuer.token_lifetime = 50.0
    source.policy = OFTEN
    listener = new_listener()
    source.attach(listener)
    credentials = source.get()
    assert credentials.clock_skew == pytest.approx(skew, abs=10)
    assert 30 < credentials.remaining() < 60
    assert source.status().clock_skew == credentials.clock_skew
    listener.wait_for(1)
    assert source.status().failures == 0


def test_an_expired_credential_is_never_handed_out(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """One that runs out during a last attempt to replace it ends in the attempt's error."""
    present = scripted.credentials(lifetime=3.0)

    def hang(timeout: float) -> BrokerCredentials:
        wait_until_expired(present)
        raise IssuerUnavailableError("the issuer did not answer in time")

    source = source_of(scripted(present, hang))
    source.close()
    source.get()
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


@pytest.mark.parametrize("field", ["username", "password"])
def test_a_credential_that_no_login_can_carry_is_an_error_without_it(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource], field: str
) -> None:
    """Encoding it for the broker would end in an error that quotes it."""
    text = "CANARY\udce4ss"
    given = scripted.credentials(token=text if field == "password" else None)
    if field == "username":
        given = replace(given, username=text)
    source = source_of(scripted(given))
    with pytest.raises(InvalidCredentialError, match="UTF-8") as caught:
        source.get()
    assert "CANARY" not in repr(caught.value)
    assert source.current is None


def test_tokens_that_are_due_on_arrival_do_not_make_it_hammer_the_issuer(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """An issuer that hands out tokens late in their life is asked again after a pause."""
    source = source_of(scripted(lambda _: scripted.credentials(lifetime=4200, age=3600)))
    source.get()
    pause = source.tick()
    assert pause is not None
    assert 40 < pause < 80, "a tenth of the ten minutes that are left"


def test_an_issuer_that_repeats_its_token_is_no_failure_and_no_rotation(
    scripted: type[ScriptedProvider],
    source_of: Callable[..., CredentialSource],
    new_listener: type[Listener],
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same token again changes nothing, and the one after it reaches the connections."""
    monkeypatch.setattr(freshness, "LONGEST_RECHECK_DELAY", 0.2)
    repeated = scripted.credentials(lifetime=400.0, age=200.0)
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
    source._retry_at = time.monotonic() + 60.0
    with pytest.raises(MQAuthError, match="KeyError"):
        source.get()
    source._retry_at = -math.inf
    assert not source.get().expired()


def test_halves_of_characters_are_an_error_of_ours(
    scripted: type[ScriptedProvider], source_of: Callable[..., CredentialSource]
) -> None:
    """What no login can encode is refused before anything else meets it, and without its text."""
    good = scripted.credentials()
    for odd in (replace(good, password=Secret("x\ud800")), replace(good, username="x\ud800")):
        with pytest.raises(InvalidCredentialError, match="UTF-8 cannot write") as caught:
            source_of(scripted(odd)).get()
        assert caught.value.__context__ is None
