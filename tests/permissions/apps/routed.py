"""An app whose queues stand nowhere but in routes, tasks, entries of beat and its workers.

Celery creates each of them when it is first needed (`task_create_missing_queues`).
"""

from __future__ import annotations

import warnings
from typing import Any

from celery import Celery
from celery.exceptions import CDeprecationWarning

from tests.permissions.apps import tracing
from tests.permissions.apps.tasks import COMMON, add_tasks

CONSUMED = ("celery", "mails", "feeds")
"""The queues that its workers are started with."""

SENT = ("add", "mail", "feed.fetch", "web.page", "report", "paid")
"""A task for each queue that a producer sends to."""


def pays(name: str, *arguments: Any, **options: Any) -> dict[str, str] | None:
    """Route as a function does."""
    del arguments, options
    return {"queue": "payments"} if name == "paid" else None


def make() -> Celery:
    """Make the app."""
    app = Celery("routed", set_as_current=False)
    app.conf.update(
        **COMMON,
        task_ignore_result=True,
        task_routes=[
            {"mail": {"queue": "mails"}, "feed.*": "feeds"},
            [("web.*", {"queue": "webs"})],
            pays,
        ],
        worker_direct=True,
        beat_schedule={
            "tick": {"task": "add", "schedule": 0.3, "args": (1, 2)},
            "nightly": {
                "task": "add",
                "schedule": 0.3,
                "args": (1, 2),
                "options": {"queue": "nightly"},
            },
        },
    )
    for name in ("feed.fetch", "web.page", "paid"):
        app.task(name=name, shared=False)(_nothing)
    with warnings.catch_warnings():
        # Celery 5.7 wants routes in place of a task's own queue, and still goes by it.
        warnings.simplefilter("ignore", CDeprecationWarning)
        app.task(name="report", queue="reports", shared=False, lazy=False)(_nothing)
    return add_tasks(app)


def _nothing(*arguments: Any) -> None:
    del arguments


tracing.install()
app = make()
