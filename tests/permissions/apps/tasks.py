"""The tasks of all apps."""

from __future__ import annotations

from typing import Any

from celery import Celery

COMMON: dict[str, Any] = {
    "broker_connection_retry_on_startup": False,
    "broker_connection_max_retries": 0,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "broker_channel_error_retry": False,
}


def add_tasks(app: Celery) -> Celery:
    """Give an app its tasks."""

    @app.task(name="add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="mail", shared=False)
    def mail(to: str) -> str:
        return to

    @app.task(name="again", bind=True, max_retries=1, shared=False)
    def again(self: Any) -> str:
        """Send another task, and the second time be done."""
        if self.request.retries:
            print("again: done", flush=True)  # noqa: T201 - the test waits for it
            return "done"
        add.delay(1, 1)
        raise self.retry(countdown=1)

    return app
