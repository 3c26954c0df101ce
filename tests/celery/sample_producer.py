"""A process that publishes tasks until its standard input is closed, then collects the results."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from typing import Any

from celery.result import AsyncResult

from tests.celery.journal import note
from tests.celery.sample_app import add

RESULT_TIMEOUT = 20.0


def main() -> None:
    """Publish, and record every publish, error and result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interval", type=float, default=0.1)
    parser.add_argument("--results", action="store_true", help="fetch the results at the end")
    arguments = parser.parse_args()
    stop = threading.Event()
    threading.Thread(target=_wait_for_end_of_input, args=(stop,), daemon=True).start()
    sent: list[tuple[int, Any]] = []
    number = 0
    while not stop.wait(arguments.interval):
        number += 1
        result = _publish(number)
        if result is not None:
            sent.append((number, result))
    for number, result in sent if arguments.results else ():
        note("result", result.id, right=result.get(timeout=RESULT_TIMEOUT) == number + 1)
    note("producer_done")
    threading.Event().wait()  # its connections stay open until the test has looked at them


def _publish(number: int) -> AsyncResult | None:
    started = time.monotonic()
    try:
        result: AsyncResult = add.delay(number, 1)
    except Exception as error:  # noqa: BLE001 - the test judges what may come
        note("publish_error", error=f"{type(error).__name__}: {error}"[:2000])
        return None
    note("sent", result.id, seconds=time.monotonic() - started)
    return result


def _wait_for_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main()
