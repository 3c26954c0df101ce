"""Plays the roles that need no process of their own: `driver APP FOLDER`, URLs by role on stdin."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery

from tests.permissions.apps import tracing

LIMIT = 20.0


def produce(app: Celery) -> list[Any]:
    """Send a task to each queue, now and for later."""
    sent = [app.tasks["add"].delay(1, 2), app.tasks["add"].apply_async((1, 2), countdown=1)]
    if "shop.mails" in app.amqp.queues:
        sent.append(app.tasks["mail"].delay("ann"))
    for name in getattr(_module(app), "SENT", ()):
        app.tasks[name].delay(*(("ann",) if name == "mail" else (1, 2)))
    again = app.tasks["again"]
    queues = getattr(_module(app), "AGAIN", ())
    sent += [again.apply_async(queue=name) for name in queues] or [again.delay()]
    return sent


def _module(app: Celery) -> Any:
    return importlib.import_module(f"tests.permissions.apps.{app.main}")


def results(app: Celery) -> None:
    """Send tasks and wait for a result."""
    assert produce(app)[0].get(timeout=LIMIT) == 3


def events(app: Celery) -> None:
    """Listen until an event comes."""
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": lambda event: None})
        receiver.capture(limit=1, timeout=LIMIT, wakeup=True)


def inspect(app: Celery) -> None:
    """Ask workers for an answer."""
    answers = app.control.inspect(limit=2, timeout=LIMIT).ping()
    assert len(answers) == 2, answers


def flower(app: Celery) -> None:
    """Listen and ask."""
    events(app)
    inspect(app)


def delayed(app: Celery) -> None:
    """Set up native delayed delivery, which Kombu has since 5.5."""
    from kombu.transport.native_delayed_delivery import (  # noqa: PLC0415
        bind_queue_to_native_delayed_delivery_exchange,
        declare_native_delayed_delivery_exchanges_and_queues,
    )

    with app.connection_for_write() as connection:
        declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
        for queue in app.amqp.queues.values():
            bind_queue_to_native_delayed_delivery_exchange(connection, queue)


ROLES: dict[str, Callable[[Celery], Any]] = {
    "producer": produce,
    "results": results,
    "events": events,
    "inspect": inspect,
    "flower": flower,
    "delayed": delayed,
}


def main() -> None:
    """Play the roles one after the other."""
    name, folder = sys.argv[1:]
    tracing.install(always=True)
    for role, url in json.load(sys.stdin).items():
        tracing.record_to(Path(folder, f"{role}.trace"))
        app = importlib.import_module(f"tests.permissions.apps.{name}").make()
        app.conf.broker_url = url
        ROLES[role](app)
        app.close()
        print(role, "played", flush=True)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
