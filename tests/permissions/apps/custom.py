"""An app with queues, topics and prefixes of its own."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Exchange, Queue, binding

from tests.permissions.apps import tracing
from tests.permissions.apps.tasks import COMMON, add_tasks

SENT = ("news",)
"""A task for the queue of several bindings."""


def make() -> Celery:
    """Make the app."""
    app = Celery("custom", backend="rpc://", set_as_current=False)
    app.conf.update(
        **COMMON,
        task_queues=[
            Queue("shop.orders", Exchange("shop.events", type="topic"), routing_key="order.#"),
            Queue(
                "shop.mails",
                Exchange("shop.mails", type="direct"),
                routing_key="mail",
                queue_arguments={"x-dead-letter-exchange": "shop.dead"},
            ),
            Queue(
                "shop.news",
                [
                    binding(Exchange("shop.events", type="topic"), routing_key="news.*"),
                    binding(Exchange("shop.press", type="fanout")),
                ],
            ),
        ],
        task_default_queue="shop.orders",
        task_default_exchange="shop.events",
        task_default_exchange_type="topic",
        task_default_routing_key="order.new",
        task_routes={"mail": {"queue": "shop.mails"}, "news": {"queue": "shop.news"}},
        task_create_missing_queues=False,
        event_exchange="shop.celeryev",
        event_queue_prefix="shopev",
        control_exchange="shop",
        beat_schedule={
            "order": {"task": "add", "schedule": 0.3, "args": (1, 2)},
            "mail": {"task": "mail", "schedule": 0.3, "args": ("ann",)},
        },
    )
    app.task(name="news", bind=True, max_retries=1, shared=False)(_news)
    return add_tasks(app)


def _news(self: Any, *arguments: Any) -> None:
    """Run again once: old releases of Kombu bind the queue anew for that."""
    if not self.request.retries:
        raise self.retry(args=arguments, countdown=1)


tracing.install()
app = make()
