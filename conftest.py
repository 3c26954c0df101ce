"""Lets a test run end in order when it is told to stop, and programs under test hear Ctrl-C."""

from __future__ import annotations

import signal

from workloads.processes import terminate_like_interrupt


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
