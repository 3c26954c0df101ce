"""Who wants to know about newer credentials: the live connections of this process."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

from mqauth.credentials import BrokerCredentials

logger = logging.getLogger(__name__)


class CredentialListener(Protocol):
    """Something alive that carries a credential, such as an open connection."""

    def credentials_renewed(self, credentials: BrokerCredentials) -> bool:
        """Take over `credentials` without blocking.

        Called on the renewal thread. It must not wait for the network or a lock.

        Returns:
            Whether that is done; if not, it is called again in a moment.
        """
        ...


class Listeners:
    """A set of listeners held weakly, each of which hears of every newer credential once."""

    def __init__(self) -> None:
        """Start empty."""
        # Reentrant: a finalizer that closes a connection may run in the midst of any of these.
        self._lock = threading.RLock()
        self._all: weakref.WeakSet[CredentialListener] = weakref.WeakSet()
        self._waiting: weakref.WeakSet[CredentialListener] = weakref.WeakSet()
        self._newest: BrokerCredentials | None = None

    def add(self, listener: CredentialListener) -> None:
        """Tell `listener` about every credential from the next one on."""
        with self._lock:
            self._all.add(listener)

    def remove(self, listener: CredentialListener) -> None:
        """Forget `listener`; harmless if it is not there."""
        with self._lock:
            self._all.discard(listener)
            self._waiting.discard(listener)

    def announce(self, credentials: BrokerCredentials) -> None:
        """Let everyone wait for `credentials`, the newest there are."""
        with self._lock:
            self._newest = credentials
            self._waiting = weakref.WeakSet(self._all)

    def withdraw(self, rejected: BrokerCredentials) -> None:
        """Let nobody wait for `rejected` any more: a broker refuses it."""
        with self._lock:
            if self._newest is not None and self._newest.password == rejected.password:
                self._newest = None
                self._waiting = weakref.WeakSet()

    def deliver(self) -> bool:
        """Hand the newest credential to all who wait; return whether nobody waits any more."""
        with self._lock:
            # What to deliver and who has had it belong together: an even newer credential may be
            # announced meanwhile, and then everyone waits anew, in another set.
            credentials, waiting = self._newest, self._waiting
            pending = list(waiting)
        for listener in pending:
            if credentials is None or _hand_over(listener, credentials):
                with self._lock:
                    waiting.discard(listener)
        with self._lock:
            return not self._waiting

    def __len__(self) -> int:
        with self._lock:
            return len(self._all)


def _hand_over(listener: CredentialListener, credentials: BrokerCredentials) -> bool:
    try:
        return listener.credentials_renewed(credentials)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is that connection's
        # One broken connection must not keep the others from being renewed.
        logger.warning("a connection could not be renewed: %s", type(error).__name__)
        return True
