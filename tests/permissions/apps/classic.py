"""An app as the tutorial makes it: one queue, rpc results, events."""

from __future__ import annotations

from celery import Celery

from tests.permissions.apps import tracing
from tests.permissions.apps.tasks import COMMON, add_tasks


def make() -> Celery:
    """Make the app."""
    app = Celery("classic", backend="rpc://", set_as_current=False)
    app.conf.update(
        **COMMON,
        task_send_sent_event=True,
        beat_schedule={"tick": {"task": "add", "schedule": 0.3, "args": (1, 2)}},
    )
    return add_tasks(app)


tracing.install()
app = make()
