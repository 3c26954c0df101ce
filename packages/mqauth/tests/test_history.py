"""What happened lately is kept, a little of it, and without a secret."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mqauth import events, history
from mqauth.events import CredentialFetched, CredentialRenewed, RenewalFailed
from mqauth.history import IDENTITIES, KEPT, History


@pytest.fixture
def kept() -> Iterator[History]:
    """A history of this test's own."""
    own = History()
    own.start()
    own.start()
    yield own
    assert own._unsubscribe is not None
    own._unsubscribe()


def renewed(identity: str = "someone", *, shared: bool = False) -> CredentialRenewed:
    """Return an event."""
    return CredentialRenewed(provider="oauth2", identity=identity, expires_at=None, shared=shared)


def test_events_are_kept_by_identity(kept: History) -> None:
    """Each identity has its own events, oldest first, each once."""
    failed = RenewalFailed(
        provider="oauth2",
        identity="someone",
        expires_at=None,
        error="HTTP 500",
        retryable=True,
        failures=1,
        remaining=9.0,
        retry_in=0.5,
    )
    fetched = CredentialFetched(provider="oauth2", identity="someone", expires_at=None, seconds=0.1)
    for event in (fetched, failed, renewed(shared=True), renewed("another")):
        events.emit(event)
    found = kept.of("someone")
    assert [each.kind for each in found] == ["fetched", "failed", "renewed"]
    assert found[1].error == "HTTP 500"
    assert found[2].shared
    assert [each.kind for each in kept.of("another")] == ["renewed"]
    assert kept.of("nobody") == []


def test_events_have_their_moment(kept: History) -> None:
    """An event as JSON says when it happened, in UTC."""
    before = datetime.now(UTC)
    events.emit(renewed())
    (said,) = [each.as_dict() for each in kept.of("someone")]
    assert before <= datetime.fromisoformat(said["at"]) <= datetime.now(UTC)


def test_only_a_little_is_kept(kept: History) -> None:
    """Neither one busy identity nor ever new ones make a process grow."""
    for _ in range(KEPT * 2):
        events.emit(renewed())
    assert len(kept.of("someone")) == KEPT
    for number in range(IDENTITIES):
        events.emit(renewed(f"number {number}"))
    assert kept.of("someone") == []
    assert len(kept._found) == IDENTITIES


def test_the_process_has_one() -> None:
    """There is one history for all who ask."""
    assert isinstance(history.history, History)
