"""Sends a run's tasks and, with a result backend, checks every result: `python -m
workloads.producer LOAD_JSON`.

It sends as an application does, by `delay` with Celery's default retries; whatever comes out of
`delay` is a publish error. It ends when its standard input does.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
import traceback
from typing import Any

from workloads.app import app, ledger, long, settings, short
from workloads.ledger import What
from workloads.load import Load

RESULT_SECONDS = 90.0
"""How long a result may take on top of a long task."""


class ResultChecker:
    """Fetches results in the order of sending, in a thread of its own.

    Args:
        limit: Seconds from sending after which a result is given up.
    """

    def __init__(self, limit: float) -> None:
        """Start the thread."""
        self._limit = limit
        self._pending: queue.SimpleQueue[tuple[float, str, int, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="results", daemon=True)
        self._thread.start()

    def expect(self, kind: str, number: int, result: Any) -> None:
        """Await a further result."""
        self._pending.put((time.monotonic() + self._limit, kind, number, result))

    def finish(self) -> None:
        """Return when every expected result has come or has been given up."""
        self._pending.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._pending.get()) is not None:
            deadline, kind, number, result = item
            try:
                value = result.get(timeout=max(0.05, deadline - time.monotonic()))
            except Exception as error:  # noqa: BLE001 - whatever comes is what we count
                traceback.print_exc()
                ledger.record(What.RESULT_MISSING, kind, result.id, detail=type(error).__name__)
                continue
            if value == number:
                ledger.record(What.RESULT, kind, result.id)
            else:
                ledger.record(What.RESULT_MISSING, kind, result.id, detail="wrong value")


def send(kind: str, number: int, load: Load) -> Any | None:
    """Publish one task, record how it went, and return its result handle."""
    begin = time.perf_counter()
    try:
        result = short.delay(number) if kind == "short" else long.delay(number, load.long_seconds)
    except Exception as error:  # noqa: BLE001 - whatever comes is what we count
        traceback.print_exc()
        ledger.record(What.PUBLISH_ERROR, kind, detail=type(error).__name__)
        return None
    ledger.record(What.SENT, kind, result.id, (time.perf_counter() - begin) * 1000)
    return result


def produce(load: Load) -> None:
    """Send the whole load on time, then await the results."""
    checker = (
        ResultChecker(RESULT_SECONDS + load.long_seconds) if settings.backend == "rpc" else None
    )
    begin = time.monotonic()
    for offset, kind, number in load.schedule():
        time.sleep(max(0.0, begin + offset - time.monotonic()))
        result = send(kind, number, load)
        if result is not None and checker is not None:
            checker.expect(kind, number, result)
    ledger.record(What.SCHEDULE_END)
    if checker is not None:
        checker.finish()
    ledger.record(What.PRODUCER_DONE)


def main() -> None:
    """Produce, then keep the connections open until the run is over."""
    produce(Load(**json.loads(sys.argv[1])))
    sys.stdin.read()
    app.close()


if __name__ == "__main__":
    main()
