"""What the worker itself reports through `inspect mqauth`, asked over a login of our own.

It serves the display and the record; no run is judged by it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import OperationalError

ASK_EVERY = 2.0
ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """The worker's last answer.

    Args:
        rotations: Renewals so far.
        failures: Failed attempts so far.
        expires: End of the present credential as `time.time()` counts, or None.
        answer: The whole answer.
    """

    rotations: int = 0
    failures: int = 0
    expires: float | None = None
    answer: Any = None


class WorkerWatch:
    """Asks the workers every few seconds, in a thread of its own.

    Args:
        broker_url: A plain AMQP URL with a login that does not expire.
    """

    def __init__(self, broker_url: str) -> None:
        """Start asking."""
        self.state = WorkerState()
        self._app = Celery("judge", broker=broker_url, set_as_current=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop asking and close the connection."""
        self._stop.set()
        self._thread.join(10)
        self._app.close()

    def _run(self) -> None:
        while not self._stop.wait(ASK_EVERY):
            # A worker that is busy, starting or gone does not answer; its last answer stands.
            state = self._ask()
            if state is not None:
                self.state = state

    def _ask(self) -> WorkerState | None:
        try:
            replies = self._app.control.broadcast("mqauth", reply=True, timeout=ANSWER_SECONDS)
        except (OSError, OperationalError, AMQPError):
            return None
        for reply in replies or ():
            for answer in reply.values():
                state = read_answer(answer)
                if state is not None:
                    return state
        return None


def read_answer(answer: Any) -> WorkerState | None:
    """Return the state in one worker's answer, or None if there is none in it."""
    sources = [entry for entry in _mappings(answer) if "rotations" in entry]
    if not sources:
        return None
    first = sources[0]
    remaining = first.get("remaining")
    return WorkerState(
        rotations=int(first["rotations"]),
        failures=int(first.get("failures", 0)),
        expires=None if remaining is None else time.time() + float(remaining),
        answer=answer,
    )


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        return [value, *(found for inner in value.values() for found in _mappings(inner))]
    if isinstance(value, list):
        return [found for inner in value for found in _mappings(inner)]
    return []
