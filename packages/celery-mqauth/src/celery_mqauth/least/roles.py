"""What each role of an app does on the broker.

Recorded from Celery 5.4 to 5.7: `celery worker`, `celery beat`, `celery events`, `celery inspect`
and callers of tasks, on brokers of RabbitMQ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from celery_mqauth.least.app_names import AppNames, TaskQueue
from mqauth.permissions.least import DEFAULT, Use
from mqauth.permissions.name_patterns import Blank, NamePattern, named
from mqauth.permissions.operations import Role as Part

_ANY = named(Blank.ANY)
_LATER = named("celery_delayed_27")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerOptions:
    """Options of `celery worker` that change what it does on the broker.

    Attributes:
        gossip: Whether it listens to other workers' events; not with --without-gossip.
        mingle: Whether it greets other workers at start; not with --without-mingle.
        heartbeat: Whether it sends heartbeats; not with --without-heartbeat.
        task_events: Whether it may be told to send events of tasks, or sends them anyway.
    """

    gossip: bool = True
    mingle: bool = True
    heartbeat: bool = True
    task_events: bool = True


@dataclass(frozen=True, slots=True)
class Role:
    """A role that a process plays.

    Attributes:
        title: What it is.
        uses: What it does, given an app's names and the options of its workers.
    """

    title: str
    uses: Callable[[AppNames, WorkerOptions], Iterator[Use]]


def uses_of(role: str, names: AppNames, options: WorkerOptions | None = None) -> tuple[Use, ...]:
    """Return what a role does; none where the app has no use for that role."""
    return tuple(ROLES[role].uses(names, options or WorkerOptions()))


def _worker(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    for queue in names.queues:
        yield from _declared(queue, "tasks")
        yield _use("basic.consume", "tasks", queue=queue.name)
    yield from _published(names, "retries")
    if names.results is not None:
        yield _use("basic.publish", "results", exchange=DEFAULT)
    yield from _delivering_later(names)
    yield from _sending_events(names, options)
    if options.gossip:
        yield from _listening(names, named("worker.#"), "gossip")
    if options.mingle:
        yield from _calling(names, "mingle")
    if names.remote_control:
        yield from _answering(names)


def _producer(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del options
    for queue in names.queues:
        if not queue.broadcast:
            yield from _declared(queue, "tasks")
    yield from _published(names, "tasks")
    if names.results is not None:
        yield _use("queue.declare", "results", queue=names.results)
    if names.sent_events:
        events = named(names.events)
        yield _use("exchange.declare", "task.sent", exchange=events)
        yield _use("basic.publish", "task.sent", exchange=events, key=named("task.sent"))


def _results(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    if names.results is not None:
        yield from _producer(names, options)
        yield _use("basic.consume", "results", queue=names.results)


def _events(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del options
    yield from _listening(names, named("#"), "events")
    control = named(names.control)
    yield _use("exchange.declare", "waking workers", exchange=control)
    yield _use("basic.publish", "waking workers", exchange=control)


def _inspect(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del options
    yield from _calling(names, "remote control")


def _flower(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    yield from _events(names, options)
    yield from _inspect(names, options)


def _delayed(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del options
    yield from _delivering_later(names)


ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "worker": Role("a worker", _worker),
        "producer": Role("whoever sends tasks", _producer),
        "results": Role("whoever sends tasks and waits for rpc results", _results),
        "beat": Role("celery beat", _producer),
        "events": Role("celery events", _events),
        "inspect": Role("celery inspect, control and status", _inspect),
        "flower": Role("Flower: events and remote control", _flower),
        "delayed": Role("the part of a worker that sets up native delayed delivery", _delayed),
    }
)
"""The roles, by the names that `celery mqauth scopes --role` takes."""


def _use(operation: str, why: str, *, key: NamePattern | None = None, **on: NamePattern) -> Use:
    parts: dict[str, Part] = {
        "queue": "queue",
        "exchange": "exchange",
        "source": "source",
        "destination": "destination",
        "dead_letter": "dead_letter",
        "alternate": "alternate",
    }
    return Use(
        operation=operation,
        on=tuple((parts[part], pattern) for part, pattern in on.items()),
        key=key,
        why=why,
    )


def _declared(queue: TaskQueue, why: str) -> Iterator[Use]:
    if not queue.declared:
        return
    if queue.exchange:
        exchange = named(queue.exchange)
        yield _use("exchange.declare", why, exchange=exchange)
        if queue.alternate:
            yield _use("exchange.declare (with AE)", why, exchange=exchange,
                       alternate=named(queue.alternate))  # fmt: skip
    yield _use("queue.declare", why, queue=queue.name)
    if queue.dead_letter:
        dead = named(queue.dead_letter)
        yield _use("queue.declare (with DLX)", why, queue=queue.name, dead_letter=dead)
    if queue.exchange:
        key = named(queue.key) if queue.topic else None
        yield _use("queue.bind", why, queue=queue.name, exchange=named(queue.exchange), key=key)


def _published(names: AppNames, why: str) -> Iterator[Use]:
    for queue in names.queues:
        if queue.kind == "direct" or not queue.exchange:
            yield _use("basic.publish", why, exchange=DEFAULT)
            continue
        exchange = named(queue.exchange)
        for key in queue.sent_with if queue.topic else (None,):
            yield _use("basic.publish", why, exchange=exchange, key=key)
        for key in queue.sent_with if names.delayed is not None else ():
            later = named(Blank.ANY, ".", *key.parts)
            yield _use("basic.publish", "tasks for later", exchange=_LATER, key=later)


def _delivering_later(names: AppNames) -> Iterator[Use]:
    if names.delayed is None:
        return
    level, why = names.delayed, "delayed delivery"
    yield _use("exchange.declare", why, exchange=level)
    yield _use("queue.declare (with DLX)", why, queue=level, dead_letter=level)
    yield _use("queue.bind", why, queue=level, exchange=level, key=_ANY)
    yield _use("exchange.bind", why, destination=level, source=level, key=_ANY)
    for queue in names.queues:
        if queue.kind == "direct" or not queue.exchange:
            continue
        exchange = named(queue.exchange)
        key = named(queue.key if queue.key.startswith("#") else f"#.{queue.key}")
        yield _use("exchange.bind", why, destination=exchange, source=level, key=key)
        own = key if queue.topic else None
        yield _use("queue.bind", why, queue=queue.name, exchange=exchange, key=own)


def _sending_events(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    events = named(names.events)
    if options.heartbeat or options.gossip or options.task_events:
        yield _use("exchange.declare", "events", exchange=events)
        key = named("worker.", Blank.ANY)
        yield _use("basic.publish", "events of workers", exchange=events, key=key)
    if options.task_events:
        key = named("task.", Blank.ANY)
        yield _use("basic.publish", "events of tasks", exchange=events, key=key)


def _listening(names: AppNames, key: NamePattern, why: str) -> Iterator[Use]:
    events = named(names.events)
    yield _use("exchange.declare", why, exchange=events)
    yield _use("queue.declare", why, queue=names.event_queue)
    yield _use("queue.bind", why, queue=names.event_queue, exchange=events, key=key)
    yield _use("basic.consume", why, queue=names.event_queue)


def _calling(names: AppNames, why: str) -> Iterator[Use]:
    control, reply = named(names.control), named(names.reply)
    yield _use("exchange.declare", why, exchange=reply)
    yield _use("queue.declare", why, queue=names.reply_queue)
    yield _use("queue.bind", why, queue=names.reply_queue, exchange=reply)
    yield _use("exchange.declare", why, exchange=control)
    yield _use("basic.publish", why, exchange=control)
    yield _use("basic.consume", why, queue=names.reply_queue)


def _answering(names: AppNames) -> Iterator[Use]:
    control, reply, why = named(names.control), named(names.reply), "remote control"
    yield _use("exchange.declare", why, exchange=control)
    yield _use("queue.declare", why, queue=names.node_queue)
    yield _use("queue.bind", why, queue=names.node_queue, exchange=control)
    yield _use("basic.consume", why, queue=names.node_queue)
    yield _use("basic.publish", why, exchange=reply)
