"""An app of what is seldom written: queues to all, letters to the default exchange, bare retries.

Its workers consume no default queue, and tasks come to them by exchanges. So what is sent again
goes back there, with the default queue declared beside it.
"""

from __future__ import annotations

from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast

from tests.permissions.apps import tracing
from tests.permissions.apps.tasks import COMMON, add_tasks

SENT = ("mail",)
"""A task for the default queue, which nobody consumes from."""

AGAIN = ("edges.jobs", "edges.reload", "edges.refresh")
"""The queues that the task which comes again is sent to."""


def make() -> Celery:
    """Make the app."""
    app = Celery("edges", set_as_current=False)
    jobs = Exchange("edges.jobs", type="topic", arguments={"alternate-exchange": ""})
    app.conf.update(
        **COMMON,
        task_ignore_result=True,
        task_queues=[
            Queue(
                "edges.jobs",
                jobs,
                routing_key="jobs.#",
                queue_arguments={
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": "edges.lost",
                },
            ),
            Broadcast("edges.reload"),
            Broadcast("edges.refresh"),
        ],
        result_expires=None,
        task_routes={"add": {"queue": "edges.jobs", "routing_key": "jobs.add"}},
        beat_schedule={"tick": {"task": "add", "schedule": 0.3, "args": (1, 2)}},
    )
    return add_tasks(app)


tracing.install()
app = make()
