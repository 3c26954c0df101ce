"""The Celery app that the tests run in processes of their own.

Its configuration comes as JSON in the environment; its tasks record what happens to them.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import worker_process_init, worker_ready, worker_shutdown

from tests.celery.journal import note
from tests.celery.variables import CONFIGURATION
from workloads.processes import die_with_parent

die_with_parent()
worker_process_init.connect(die_with_parent, weak=False)

app = Celery("sample")
app.conf.update(json.loads(os.environ[CONFIGURATION]))


@app.task(bind=True)
def add(self: Any, x: int, y: int) -> int:
    """Add two numbers at once."""
    note("start", self.request.id)
    note("end", self.request.id)
    return x + y


@app.task(bind=True)
def hold(self: Any, seconds: float) -> float:
    """Work for so long, in slices as a task that waits for others does."""
    note("start", self.request.id, redelivered=self.request.delivery_info["redelivered"])
    end = time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
    except SoftTimeLimitExceeded:
        note("soft_limit", self.request.id)
        raise
    note("end", self.request.id)
    return seconds


@app.task(bind=True)
def hold_while_there(self: Any, path: str) -> None:
    """Work for as long as there is a file."""
    note("start", self.request.id)
    while Path(path).exists():
        time.sleep(0.05)
    note("end", self.request.id)


@app.task(bind=True)
def forward(self: Any, count: int) -> list[str]:
    """Publish further tasks from inside a worker."""
    note("start", self.request.id)
    ids = [add.delay(number, 1).id for number in range(count)]
    note("end", self.request.id)
    return ids


@app.task(bind=True)
def forward_and_wait(self: Any, seconds: float) -> None:
    """Publish from this child and keep it busy, so that its siblings do the same."""
    note("start", self.request.id)
    note("forwarded", add.delay(1, 1).id)
    time.sleep(seconds)
    note("end", self.request.id)


@app.task(bind=True)
def fail(self: Any) -> None:
    """Raise an error, whose traceback the worker logs."""
    note("failing", self.request.id)
    raise ValueError("this task fails on purpose")


@worker_ready.connect
def _ready(**_: Any) -> None:
    note("worker_ready")


@worker_shutdown.connect
def _shutdown(**_: Any) -> None:
    note("worker_shutdown")
