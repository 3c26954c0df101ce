"""A process whose threads are green, with one source for many of them; no test in itself.

Run after monkey patching. Reads a configuration as JSON from standard input and prints what
happened.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from mqauth import BrokerCredentials, CredentialSource, MQAuthError

PATIENCE = 30.0


class Listener:
    """Counts, and says 'not now' the first time."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.told = 0
        self.refused = 0
        self.changed = threading.Event()

    def credentials_renewed(self, credentials: BrokerCredentials) -> bool:
        """Count."""
        if not self.refused:
            self.refused = 1
            return False
        self.told += 1
        self.changed.set()
        return True

    def wait_for(self, count: int) -> bool:
        """Wait until it has been told `count` times."""
        end = time.monotonic() + PATIENCE
        while self.told < count and time.monotonic() < end:
            self.changed.clear()
            self.changed.wait(1.0)
        return self.told >= count


class Heart:
    """Beats in a green thread of its own: the longest pause shows who blocked all of them."""

    def __init__(self) -> None:
        """Begin to beat."""
        self.beats = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(0.02):
            self.beats += 1

    def stop(self) -> None:
        """Stop beating."""
        self._stop.set()
        self._thread.join(PATIENCE)


def ask(source: CredentialSource, results: list[str]) -> None:
    """Ask once and keep the token, or the error."""
    try:
        results.append(source.get().password.reveal())
    except MQAuthError as error:
        results.append(type(error).__name__)


def ask_together(source: CredentialSource, count: int) -> list[str]:
    """Return what so many green threads get that ask at once."""
    results: list[str] = []
    threads = [threading.Thread(target=ask, args=(source, results)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return results


def main(config: dict[str, Any]) -> dict[str, Any]:
    """Fetch once for many, renew in the background while others run, and survive a slow issuer."""
    source = CredentialSource.from_config(config)
    heart = Heart()
    listener = Listener()
    together = ask_together(source, 50)
    beats_while_slow = heart.beats
    source.attach(listener)
    told = listener.wait_for(2)
    heart.stop()
    thread = source._thread
    status = source.status()
    source.close()
    if thread is not None:
        thread.join(PATIENCE)
    return {
        "answers": len(together),
        "tokens": len(set(together)),
        "beats_while_slow": beats_while_slow,
        "told": told,
        "refused": listener.refused,
        "rotations": status.rotations,
        "failures": status.failures,
        "threads": threading.get_ident.__module__,
        "ended": thread is not None and not thread.is_alive(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.stdin.readline()))))
