"""What holds for every test: signals, and what none may leave behind."""

from __future__ import annotations

import contextlib
import gc
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from workloads.processes import terminate_like_interrupt

LIMIT = 60.0

# A host that is busy with brokers takes its time for the simplest arithmetic. A test takes its
# settings over when it is defined, which is after this file was read, and not after some later one.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")


@pytest.hookimpl(trylast=True)
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
    sys.unraisablehook = _without_what_nobody_could_close(sys.unraisablehook)


def was_never_handed_out(socket: object) -> bool:
    """Whether `SSLContext.wrap_socket` made this TLS socket, failed, and gave it to nobody.

    Before Python 3.11.8 and 3.12.2 it forgets to close one whose peer has reset the connection
    before TLS began (https://github.com/python/cpython/issues/113280): an issuer that goes down
    does that by chance, and the warning hits whichever test runs when it is collected.
    """
    # Its last act but the handshake, after which it closes what fails, is to set this.
    return isinstance(socket, ssl.SSLSocket) and not hasattr(socket, "_connected")


def _without_what_nobody_could_close(
    hook: Callable[[sys.UnraisableHookArgs], object],
) -> Callable[[sys.UnraisableHookArgs], object]:
    def pass_on(unraisable: sys.UnraisableHookArgs) -> object:
        if isinstance(unraisable.exc_value, ResourceWarning) and was_never_handed_out(
            unraisable.object
        ):
            return None
        return hook(unraisable)

    return pass_on


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
def nothing_left(kafka_clients: Callable[[], int]) -> Iterator[None]:
    """See that what a file's tests opened ends with it.

    A socket that nobody closed is told of when it is collected, which should be here and not in
    whichever file comes later; and a client of Kafka that is left tries its broker's port for ever,
    whoever else has that port by then.
    """
    before = kafka_clients()
    yield
    gc.collect()
    if "confluent_kafka" not in sys.modules:
        return
    deadline = time.monotonic() + LIMIT
    while kafka_clients() > before:
        if time.monotonic() > deadline:
            threads = sorted(thread.name for thread in threading.enumerate())
            pytest.fail(f"a client of Kafka is left; threads: {', '.join(threads)}")
        time.sleep(0.1)
        gc.collect()  # a thread may have ended since, and left a client in a cycle
