"""The Celery app of a run; configured by the environment that `workloads.run` sets.

Every task writes its start and its end to the ledger, whatever the worker around it does.
"""

from __future__ import annotations

import os
import ssl
import time
from typing import Any

from celery import Celery
from celery.signals import worker_process_init, worker_ready

from workloads.ledger import LedgerWriter, What
from workloads.processes import die_with_parent
from workloads.settings import Settings

SHORT_SECONDS = 0.005
SLICE_SECONDS = 0.25

settings = Settings.from_environment(os.environ)
ledger = LedgerWriter(settings.ledger)
die_with_parent()
worker_process_init.connect(die_with_parent, weak=False)


def _configuration() -> dict[str, Any]:
    configuration: dict[str, Any] = {
        "broker_url": settings.broker_url,
        "broker_connection_retry_on_startup": True,
        "task_default_queue": "workload",
        "task_acks_late": settings.acks == "late",
        "task_ignore_result": settings.backend == "none",
    }
    if settings.acks == "late":
        configuration["worker_prefetch_multiplier"] = 1
    if settings.backend == "rpc":
        configuration["result_backend"] = "rpc://"
    if settings.ca_file:
        configuration["broker_use_ssl"] = {
            "ca_certs": settings.ca_file,
            "cert_reqs": ssl.CERT_REQUIRED,
        }
    if settings.transport == "callable":
        # Only the comparison needs it, and it pulls in an HTTP client.
        from workloads.callable_password import TokenPassword  # noqa: PLC0415

        configuration["broker_password"] = TokenPassword.from_environment(os.environ)
    return configuration


def run_short(self: Any, number: int) -> int:
    """Take a few milliseconds and return the number given."""
    ledger.record(What.START, "short", self.request.id)
    time.sleep(SHORT_SECONDS)
    ledger.record(What.END, "short", self.request.id)
    return number


def run_long(self: Any, number: int, seconds: float) -> int:
    """Take so many seconds, in slices as a task that waits for others does."""
    ledger.record(What.START, "long", self.request.id)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, SLICE_SECONDS))
    ledger.record(What.END, "long", self.request.id)
    return number


def _ready(**_: Any) -> None:
    ledger.record(What.WORKER_READY)


app = Celery("workload")
app.conf.update(_configuration())
short = app.task(name="workload.short", bind=True)(run_short)
long = app.task(name="workload.long", bind=True)(run_long)
worker_ready.connect(_ready, weak=False)
