"""The topics of Kafka that an app uses: one for each queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery_mqauth.least.destinations import Destinations, destinations
from celery_mqauth.least.task_queues import TaskQueue
from mqauth.diagnosis.target import TopicUse
from mqauth.errors import ConfigurationError

_ON_KAFKA = ("worker", "producer", "beat")


def app_topics(
    app: Any,
    *,
    roles: Sequence[str],
    queues: Sequence[str] = (),
    sent: Sequence[str] = (),
) -> list[TopicUse]:
    """Return the topics of Kafka that an app's roles use: one for each queue of a known name.

    Args:
        app: A Celery app.
        roles: The roles, as `celery mqauth scopes` names them.
        queues: The queues that its workers consume from, as with `celery worker -Q`.
        sent: Queues that tasks are sent to besides those that the configuration names.

    Raises:
        ConfigurationError: There is a role that cannot be played on Kafka.
    """
    for role in roles:
        if role not in _ON_KAFKA:
            raise ConfigurationError(
                f"the role {role} cannot be played on Kafka: Kombu's transport has no fanout, "
                "hence no events, remote control or delayed delivery",
                remedy=f"choose of {', '.join(_ON_KAFKA)}",
            )
    tasks = destinations(app, consumed=queues, sent=sent)
    read = _topics_of(tasks.consumed) if "worker" in roles else set()
    names = set().union(*(_topics_of(found) for found in _used(tasks, roles)))
    return [TopicUse(name=name, read=name in read) for name in sorted(names)]


def topics_left_out(
    app: Any,
    *,
    roles: Sequence[str],
    queues: Sequence[str] = (),
    sent: Sequence[str] = (),
) -> list[str]:
    """Return what `app_topics` has no name for, in sentences.

    Args:
        app: A Celery app.
        roles: The roles, as `celery mqauth scopes` names them.
        queues: The queues that its workers consume from, as with `celery worker -Q`.
        sent: Queues that tasks are sent to besides those that the configuration names.
    """
    tasks = destinations(app, consumed=queues, sent=sent)
    left = {queue.name for found in _used(tasks, roles) for queue in found if not _topic(queue)}
    patterns = sorted(str(name) for name in left if str(name))
    said = [
        f"the topic of the queue {name} is not looked at, since its name is known only when a "
        "worker runs; name one with -Q or --queue"
        for name in patterns
    ]
    if len(left) > len(patterns):
        said.append(
            "a route names an exchange without a queue: the topics behind it are not looked at; "
            "name them with --queue"
        )
    return said


def _used(tasks: Destinations, roles: Sequence[str]) -> list[Sequence[TaskQueue]]:
    # A worker writes, too: retries go back to the queue.
    used = {"worker": tasks.consumed, "producer": tasks.sent, "beat": tasks.scheduled}
    return [used[role] for role in roles if role in used]


def _topics_of(queues: Sequence[TaskQueue]) -> set[str]:
    return {topic for queue in queues if (topic := _topic(queue))}


def _topic(queue: TaskQueue) -> str:
    """Return a queue's name as Kombu names its topic; nothing where nobody knows it yet."""
    return str(queue.name).replace("@", "") if queue.name.exact else ""
