"""What all issuers of the sandbox have in common: a server, faults, keys and a log of requests."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from mqauth_sandbox.faults import Endpoint, FaultMode, Faults
from mqauth_sandbox.http import HttpsServer, Request, Response
from mqauth_sandbox.keys import Algorithm, SigningKeys
from mqauth_sandbox.running import Restartable

Entry = TypeVar("Entry")

NOT_A_JWT = "opaque-" + "0" * 40
"""What the fault `not_jwt` puts where a token belongs."""

EXPIRED_FOR = 60.0
"""Seconds since the tokens of the fault `expired` ran out."""


class Issuer(Restartable, Generic[Entry]):
    """An HTTPS server that issues signed tokens, keeps count, and misbehaves on demand.

    Subclasses answer requests in `respond` and `faulted` and call `_record` for each token request.

    Args:
        certificate: PEM file with the server's certificate (for `localhost`) and its chain.
        private_key: PEM file with the certificate's key.
        algorithms: Algorithms that tokens can be signed with.
        port: Port to use; 0 for a free one, kept over restarts.

    Attributes:
        faults: How it misbehaves.
    """

    def __init__(
        self,
        *,
        certificate: Path,
        private_key: Path,
        algorithms: Sequence[Algorithm],
        port: int,
    ) -> None:
        """Read the certificate; nothing listens before `start`."""
        self.faults = Faults()
        self._keys = SigningKeys(algorithms)
        self._changed = threading.Condition()
        self._log: list[Entry] = []
        self._fetches = 0
        self._server = HttpsServer(
            self, self.faults, certificate=certificate, private_key=private_key, port=port
        )

    @property
    def fetches(self) -> int:
        """How many usable tokens it has issued to clients."""
        with self._changed:
            return self._fetches

    @property
    def requests(self) -> int:
        """How many token requests it has read, whatever became of them.

        Connections that `down` resets before a request is read do not count.
        """
        with self._changed:
            return len(self._log)

    def wait_for_fetches(self, count: int, timeout: float) -> bool:
        """Wait until `fetches` is at least `count`; False if `timeout` seconds pass first."""
        with self._changed:
            return self._changed.wait_for(lambda: self._fetches >= count, timeout)

    def wait_for_requests(self, count: int, timeout: float) -> bool:
        """Wait until `requests` is at least `count`; False if `timeout` seconds pass first."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._log) >= count, timeout)

    def start(self) -> None:
        """Listen; the port of an earlier `start` is used again."""
        self._server.start()

    def stop(self) -> None:
        """End all connections and stop listening. Keys, counters and the port stay."""
        self._server.stop()

    def rotate_keys(self) -> None:
        """Sign with new keys from now on; the JWKS then lists old and new."""
        self._keys.rotate()

    def jwks(self) -> dict[str, Any]:
        """Return the public keys that its tokens verify with (RFC 7517)."""
        return self._keys.jwks()

    def endpoint(self, path: str) -> Endpoint:
        """Return which half of the issuer `path` belongs to (called by the server)."""
        raise NotImplementedError

    def respond(self, request: Request) -> Response:
        """Answer a request (called by the server)."""
        raise NotImplementedError

    def faulted(self, request: Request, mode: FaultMode) -> Response:
        """Note a request that a fault hit (called by the server)."""
        raise NotImplementedError

    def _record(self, entry: Entry, *, fetched: bool) -> None:
        # Subclasses hold the lock already, which is a reentrant one.
        with self._changed:
            self._log.append(entry)
            self._fetches += fetched
            self._changed.notify_all()
