"""An app with quorum queues and native delayed delivery."""

from __future__ import annotations

from celery import Celery

from tests.permissions.apps import tracing
from tests.permissions.apps.tasks import COMMON, add_tasks

SINCE = "5.5"
"""The first Celery that detects quorum queues and delays natively."""


def make() -> Celery:
    """Make the app."""
    app = Celery("quorum", set_as_current=False)
    app.conf.update(
        **COMMON,
        task_default_queue="jobs",
        task_default_exchange="jobs",
        task_default_exchange_type="topic",
        task_default_routing_key="jobs",
        task_default_queue_type="quorum",
        worker_detect_quorum_queues=True,
        task_ignore_result=True,
        beat_schedule={
            "tick": {"task": "add", "schedule": 0.3, "args": (1, 2)},
            "later": {
                "task": "add",
                "schedule": 0.3,
                "args": (1, 2),
                "options": {"countdown": 1},
            },
        },
    )
    return add_tasks(app)


tracing.install()
app = make()
