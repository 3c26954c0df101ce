"""The Celery app of a run on Kafka: its settings and its ledger come from the environment."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from celery import Celery
from celery.signals import worker_process_init, worker_ready

from workloads.processes import die_with_parent

SETTINGS = "KAFKA_SOAK_SETTINGS"
LEDGER = "KAFKA_SOAK_LEDGER"

app = Celery("kafka-soak")
app.conf.update(json.loads(os.environ.get(SETTINGS, "{}")))


def record(what: str, number: int) -> None:
    """Append one line to the ledger with one `write`, so that it survives a SIGKILL."""
    line = json.dumps([time.time(), what, number]) + "\n"
    descriptor = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@worker_process_init.connect(weak=False)
def _child_begins(**_: Any) -> None:
    die_with_parent()


@worker_ready.connect(weak=False)
def _ready(**_: Any) -> None:
    record("ready", 0)


@app.task(name="work", ignore_result=True, shared=False)  # not in every app of this process
def work(number: int, *, then: int | None = None) -> None:
    """Note that the task ran; send another where there is one to follow."""
    record("start", number)
    if then is not None:
        work.delay(then)
    record("end", number)
