"""A process with a source of its own that does what its parent tells it; no test in itself.

Reads a configuration, then commands, one JSON object a line, and answers each with one line.
Credentials are named by their digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import threading
from typing import Any

from mqauth import BrokerCredentials, CredentialSource, MQAuthError, events


class Obedient:
    """Carries out commands with one source.

    Args:
        source: The source.
    """

    def __init__(self, source: CredentialSource) -> None:
        """Listen to what happens."""
        self._source = source
        self._last: BrokerCredentials | None = None
        self._held = contextlib.ExitStack()
        self._changed = threading.Condition()
        events.subscribe(self._notify)

    def get(self) -> dict[str, Any]:
        """Ask for the credential."""
        try:
            self._last = self._source.get()
        except MQAuthError as error:
            return {"error": type(error).__name__, "text": str(error)}
        return {"token": digest(self._last), "remaining": self._last.remaining()}

    def invalidate(self) -> bool:
        """Reject what the last `get` returned, as a broker does."""
        assert self._last is not None
        self._source.invalidate(self._last)
        return True

    def status(self) -> dict[str, Any]:
        """Return how things stand."""
        return self._source.status().as_dict()

    def wait(self, rotations: int) -> dict[str, Any]:
        """Wait until so many rotations have happened, without asking for anything."""
        with self._changed:
            self._changed.wait_for(lambda: self._source.status().rotations >= rotations, 45)
        return self.status()

    def hold_lock(self) -> bool:
        """Take the cache's lock and keep it."""
        cache = self._source._cache
        assert cache is not None
        return self._held.enter_context(cache.lock(10))

    def _notify(self, event: events.CredentialEvent) -> None:
        with self._changed:
            self._changed.notify_all()


def digest(credentials: BrokerCredentials) -> str:
    """Return a name for a credential that gives nothing away."""
    return hashlib.sha256(credentials.password.reveal().encode()).hexdigest()[:16]


def main() -> None:
    """Obey until the parent closes the pipe."""
    obedient = Obedient(CredentialSource.from_config(json.loads(sys.stdin.readline())))
    for line in sys.stdin:
        message = json.loads(line)
        answer = getattr(obedient, message.pop("command"))(**message)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
