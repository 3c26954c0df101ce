"""Lets a test run end in order when it is told to stop, and programs under test hear Ctrl-C."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workloads.processes import terminate_like_interrupt

LIMIT = 20.0


def pytest_configure() -> None:
    """Suit the signals of this process, which the programs that it starts inherit.

    Brokers, workers and temporary folders would otherwise outlive a run under `timeout`. And a run
    in a script's background ignores SIGINT and SIGQUIT, and so would all that it starts.
    """
    terminate_like_interrupt()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def kafka_clients() -> Callable[[], int]:
    """Return a function that counts the clients of Kafka in this process, by their main threads."""

    def count() -> int:
        found = 0
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # it has just ended
                found += task.joinpath("comm").read_text() == "rdk:main\n"
        return found

    return count


@pytest.fixture(autouse=True, scope="module")
def no_client_of_kafka_left(kafka_clients: Callable[[], int]) -> Iterator[None]:
    """See that the clients of a file's tests end with it.

    One that is left tries its broker's port for ever, whoever else has that port by then.
    """
    before = kafka_clients()
    yield
    if "confluent_kafka" not in sys.modules:
        return
    gc.collect()
    deadline = time.monotonic() + LIMIT
    while kafka_clients() > before:
        if time.monotonic() > deadline:
            pytest.fail("a client of Kafka is left")
        time.sleep(0.05)
