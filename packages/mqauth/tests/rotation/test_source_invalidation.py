"""A credential that the broker refuses is replaced at once, and only that one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from mqauth import BrokerCredentials, CredentialSource, IssuerUnavailableError
from mqauth_sandbox.oidc import OidcIssuer
from packages.mqauth.tests.rotation.waiting import WideMargin, in_threads

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import ScriptedProvider


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
    present, newer = scripted.credentials(age=280.0), scripted.credentials()
    failure = IssuerUnavailableError("the issuer is down", retry_after=300)
    provider = scripted(present, failure, newer)
    source = source_of(provider, policy=WideMargin())
    source.close()
    source.get()
    source._retry_at = -math.inf
    assert source.get() == present, "a failure close to the end does not lose what still works"
    assert source.get() == present
    assert provider.fetches == 2
    source.invalidate(present)
    assert source.get() == newer
