"""Lets a test run that is told to stop tear down what it has set up, as after Ctrl-C."""

from __future__ import annotations

from workloads.processes import terminate_like_interrupt


def pytest_configure() -> None:
    """Brokers, workers and temporary folders would otherwise outlive a run under `timeout`."""
    terminate_like_interrupt()
