"""What each role of an app does on the broker.

Recorded from Celery 5.4 to 5.7: `celery worker`, `celery beat`, `celery events`, `celery inspect`
and callers of tasks, on brokers of RabbitMQ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from celery_mqauth.least.app_names import AppNames
from celery_mqauth.least.task_queues import Binding, TaskQueue, delayed_keys, merged
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


def _nothing(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del names, options
    return iter(())


@dataclass(frozen=True, slots=True)
class Role:
    """A role that a process plays, given an app's names and the options of its workers.

    Attributes:
        title: What it is.
        writes: What it does over connections to `broker_write_url`.
        reads: What it does over connections to `broker_read_url`.
    """

    title: str
    writes: Callable[[AppNames, WorkerOptions], Iterator[Use]]
    reads: Callable[[AppNames, WorkerOptions], Iterator[Use]] = _nothing


@dataclass(frozen=True, slots=True)
class RoleUses:
    """What a role does on the broker.

    Attributes:
        reads: What it does where it reads.
        writes: What it does where it writes, mostly the same broker.
    """

    reads: tuple[Use, ...]
    writes: tuple[Use, ...]


def uses_of(role: str, names: AppNames, options: WorkerOptions | None = None) -> RoleUses:
    """Return what a role does; none where the app has no use for that role."""
    played, given = ROLES[role], options or WorkerOptions()
    reads, writes = tuple(played.reads(names, given)), tuple(played.writes(names, given))
    if names.read_vhost != names.vhost:
        reads = tuple(replace(use, vhost=names.read_vhost) for use in reads)
        writes = tuple(replace(use, vhost=names.vhost) for use in writes)
    return RoleUses(reads, writes)


def _worker_reads(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    for queue in names.tasks.consumed:
        yield from _declared(queue, "tasks", main=False)
        yield _use("basic.consume", "tasks", queue=queue.name)
    if options.gossip:
        yield from _listening(names, named("worker.#"), "gossip")
    if options.mingle:
        yield from _hearing_replies(names, "mingle")
    if names.remote_control:
        yield from _obeying(names)


def _worker(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    tasks = names.tasks
    for queue in tasks.retried:
        yield from _declared(queue, "retries", main=names.main_bound)
    yield from _published(tasks.consumed, "retries")
    yield from _delayed_to(names, merged([*tasks.consumed, *tasks.retried]))
    if names.results is not None:
        yield _use("basic.publish", "results", exchange=DEFAULT)
    yield from _delivering_later(names)
    yield from _sending_events(names, options)
    if options.mingle:
        yield from _commanding(names, "mingle")
    if names.remote_control:
        yield from _answering(names)


def _producer(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del options
    yield from _sending(names, names.tasks.sent)


def _beat(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del options
    yield from _sending(names, names.tasks.scheduled)


def _sending(names: AppNames, queues: Sequence[TaskQueue]) -> Iterator[Use]:
    for queue in queues:
        if not queue.broadcast:
            yield from _declared(queue, "tasks", main=names.main_bound)
    yield from _published(queues, "tasks")
    yield from _delayed_to(names, queues)
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


def _events_reads(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del options
    yield from _listening(names, named("#"), "events")


def _events(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del options
    yield from _commanding(names, "waking workers")


def _inspect(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del options
    yield from _hearing_replies(names, "remote control")
    yield from _commanding(names, "remote control")


def _flower(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    # It listens to events where it writes.
    yield from _events_reads(names, options)
    yield from _events(names, options)
    yield from _inspect(names, options)


def _delayed(names: AppNames, options: WorkerOptions) -> Iterator[Use]:
    del options
    yield from _delivering_later(names)


ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "worker": Role("a worker", _worker, _worker_reads),
        "producer": Role("whoever sends tasks", _producer),
        "results": Role("whoever sends tasks and waits for rpc results", _results),
        "beat": Role("celery beat", _beat),
        "events": Role("celery events", _events, _events_reads),
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


def _declared(queue: TaskQueue, why: str, *, main: bool) -> Iterator[Use]:
    if not queue.declared:
        return
    bindings = dict.fromkeys((queue.main, *queue.bindings) if main else queue.bindings)
    for binding in bindings:
        yield from _declared_exchange(binding, why)
    yield _use("queue.declare", why, queue=queue.name)
    if queue.dead_letter is not None:
        dead = _exchange(queue.dead_letter)
        yield _use("queue.declare (with DLX)", why, queue=queue.name, dead_letter=dead)
    for binding in bindings:
        if binding.exchange:
            exchange, key = named(binding.exchange), named(binding.key) if binding.topic else None
            yield _use("queue.bind", why, queue=queue.name, exchange=exchange, key=key)


def _declared_exchange(binding: Binding, why: str) -> Iterator[Use]:
    if not binding.declared:
        return
    exchange = named(binding.exchange)
    yield _use("exchange.declare", why, exchange=exchange)
    if binding.alternate is not None:
        alternate = _exchange(binding.alternate)
        yield _use("exchange.declare (with AE)", why, exchange=exchange, alternate=alternate)


def _exchange(name: str) -> NamePattern:
    return named(name) if name else DEFAULT


def _published(queues: Sequence[TaskQueue], why: str) -> Iterator[Use]:
    for queue in queues:
        for each in queue.published:
            exchange = _exchange(each.exchange)
            yield _use("basic.publish", why, exchange=exchange, key=each.topic_key)


def _delayed_to(names: AppNames, queues: Sequence[TaskQueue]) -> Iterator[Use]:
    for queue in queues if _delays(names, queues) else ():
        if _is_delayed_to(queue.main):
            later = delayed_keys(queue.main.key)
            yield _use("basic.publish", "tasks for later", exchange=_LATER, key=later)


def _delays(names: AppNames, queues: Sequence[TaskQueue]) -> bool:
    """Tell whether Celery finds a quorum queue among those that a process knows."""
    known = (*names.tasks.configured, *queues)
    return names.delayed is not None and any(queue.quorum for queue in known)


def _is_delayed_to(binding: Binding) -> bool:
    return bool(binding.exchange) and binding.kind != "direct"


def _delivering_later(names: AppNames) -> Iterator[Use]:
    if names.delayed is None or not _delays(names, names.tasks.consumed):
        return
    level, why = names.delayed, "delayed delivery"
    yield _use("exchange.declare", why, exchange=level)
    yield _use("queue.declare (with DLX)", why, queue=level, dead_letter=level)
    yield _use("queue.bind", why, queue=level, exchange=level, key=_ANY)
    yield _use("exchange.bind", why, destination=level, source=level, key=_ANY)
    for queue in merged([*names.tasks.configured, *names.tasks.consumed]):
        for binding in () if queue.broadcast else filter(_is_delayed_to, queue.bindings):
            exchange, key = named(binding.exchange), binding.key
            key_later = named(key if key.startswith("#") else f"#.{key}")
            yield _use("exchange.bind", why, destination=exchange, source=level, key=key_later)
            own = key_later if binding.topic else None
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


def _hearing_replies(names: AppNames, why: str) -> Iterator[Use]:
    reply = named(names.reply)
    yield _use("exchange.declare", why, exchange=reply)
    yield _use("queue.declare", why, queue=names.reply_queue)
    yield _use("queue.bind", why, queue=names.reply_queue, exchange=reply)
    yield _use("basic.consume", why, queue=names.reply_queue)


def _commanding(names: AppNames, why: str) -> Iterator[Use]:
    control = named(names.control)
    yield _use("exchange.declare", why, exchange=control)
    yield _use("basic.publish", why, exchange=control)


def _obeying(names: AppNames) -> Iterator[Use]:
    control, why = named(names.control), "remote control"
    yield _use("exchange.declare", why, exchange=control)
    yield _use("queue.declare", why, queue=names.node_queue)
    yield _use("queue.bind", why, queue=names.node_queue, exchange=control)
    yield _use("basic.consume", why, queue=names.node_queue)


def _answering(names: AppNames) -> Iterator[Use]:
    reply, why = named(names.reply), "remote control"
    yield _use("exchange.declare", why, exchange=reply)
    yield _use("basic.publish", why, exchange=reply)
