"""What happened to credentials lately, kept for pages and reports; a little, and in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mqauth import events, forks

KEPT = 20
"""Entries of one identity."""
IDENTITIES = 100
"""Identities at the most, so that a process that makes ever new ones does not grow."""

_KINDS: dict[type[events.CredentialEvent], str] = {
    events.CredentialFetched: "fetched",
    events.CredentialRenewed: "renewed",
    events.RenewalFailed: "failed",
    events.CredentialExpiring: "expiring",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """One event with its moment.

    Attributes:
        at: When it happened (UTC).
        kind: `fetched`, `renewed`, `failed` or `expiring`.
        shared: Whether a renewed credential came from the host's cache.
        error: Why an attempt failed.
    """

    at: datetime
    kind: str
    shared: bool = False
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "at": self.at.isoformat(),
            "kind": self.kind,
            "shared": self.shared,
            "error": self.error,
        }


class History:
    """The last events of each identity in this process."""

    def __init__(self) -> None:
        """Begin empty; nothing is recorded before `start`."""
        self._found: dict[str, deque[Happening]] = {}
        self._unsubscribe: Callable[[], None] | None = None
        self._reset()
        forks.after_in_child(self, History._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()

    def start(self) -> None:
        """Record from now on; harmless when repeated."""
        if self._unsubscribe is None:
            self._unsubscribe = events.subscribe(self._record)

    def of(self, identity: str) -> list[Happening]:
        """Return what happened to an identity's credential, oldest first."""
        with self._lock:
            return list(self._found.get(identity, ()))

    def _record(self, event: events.CredentialEvent) -> None:
        kind = _KINDS.get(type(event))
        if kind is None:
            return
        happening = Happening(
            at=datetime.now(UTC),
            kind=kind,
            shared=getattr(event, "shared", False),
            error=getattr(event, "error", None),
        )
        with self._lock:
            if event.identity not in self._found and len(self._found) >= IDENTITIES:
                self._found.pop(next(iter(self._found)))
            self._found.setdefault(event.identity, deque(maxlen=KEPT)).append(happening)


history = History()
"""This process's."""
