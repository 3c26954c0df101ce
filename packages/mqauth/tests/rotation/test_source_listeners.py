"""Who is told of a source's new credential: each live connection, once it has time."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from mqauth import BrokerCredentials, CredentialSource
from mqauth.rotation import renewal
from mqauth.rotation.listeners import Listeners
from mqauth_sandbox.oidc import OidcIssuer

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import Listener, ScriptedProvider


def test_a_renewal_that_another_thread_fetched_is_delivered_at_once(
    source: CredentialSource, new_listener: type[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch by whoever asked wakes the renewal thread, however long that meant to sleep."""
    monkeypatch.setattr(renewal, "LONGEST_SLEEP", 1000.0)
    listener = new_listener()
    source.attach(listener)
    source.invalidate(source.get())
    fetched = source.get()
    assert listener.wait_for(1) == [fetched]


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
