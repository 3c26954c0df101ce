"""What strikes from outside: signals, clocks that are set, finalizers."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from mqauth import BrokerCredentials, CredentialSource
from mqauth.rotation.clock import clock_offset
from mqauth.rotation.listeners import Listeners

if TYPE_CHECKING:
    from packages.mqauth.tests.rotation.conftest import ScriptedProvider


class TimeLimitError(Exception):
    """What a task's soft time limit raises, in some other name."""


def test_a_time_limit_reaches_the_task(scripted: type[ScriptedProvider]) -> None:
    """What a signal handler raises while the issuer is slow is not taken for a failed fetch."""
    release = threading.Event()

    def slowly(_: float) -> BrokerCredentials:
        release.wait(30)
        return provider.credentials()

    provider = scripted(slowly)
    source = CredentialSource(provider)

    def handler(number: int, frame: object) -> None:
        raise TimeLimitError

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with pytest.raises(TimeLimitError):
            source.get()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert source.status().failures == 0
    release.set()
    assert not source.get().expired()


def test_a_clock_that_is_set_makes_the_credential_due(
    scripted: type[ScriptedProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the host's clock was set, expiry is reckoned anew by the next credential."""
    provider = scripted(lambda _: provider.credentials(lifetime=3600))
    source = CredentialSource(provider)
    monkeypatch.setattr(source, "_keep_renewing", lambda _: None)  # this test ticks itself
    before = source.get()
    assert (source.tick() or 0.0) > 60
    moved = clock_offset() - 3600
    monkeypatch.setattr("mqauth.rotation.source.clock_offset", lambda: moved)
    assert source.tick() == 0.0
    assert source.current is not None
    assert source.current.password != before.password
    assert (source.tick() or 0.0) > 60
    source.close()


def test_a_finalizer_may_close_a_connection_meanwhile() -> None:
    """Taking a listener out, by a finalizer, in the midst of another change does not deadlock."""

    class Connection:
        def credentials_renewed(self, credentials: BrokerCredentials) -> bool:
            return True

    listeners, connection = Listeners(), Connection()
    listeners.add(connection)

    def nested() -> None:
        with listeners._lock:
            listeners.remove(connection)

    thread = threading.Thread(target=nested, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(listeners) == 0
