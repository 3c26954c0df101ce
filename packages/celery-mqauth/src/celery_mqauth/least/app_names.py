"""The names that an app's configuration gives its queues and exchanges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mqauth.permissions.name_patterns import Blank, NamePattern, named

_BROADCAST = "bcast."
_DETECT = "worker_detect_quorum_queues"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskQueue:
    """A queue that tasks go through.

    Attributes:
        name: Its name.
        exchange: The exchange that it is bound to; empty for the default one.
        kind: The exchange's type.
        key: The key that it is bound with.
        sent_with: The keys that tasks for it are sent with.
        dead_letter: Its dead-letter exchange, or None.
        alternate: The exchange's alternate exchange, or None.
        declared: Whether queue and exchange are declared by Celery.
        quorum: Whether it is a quorum queue.
        broadcast: Whether each worker has one of its own with a generated name.
    """

    name: NamePattern
    exchange: str
    kind: str
    key: str
    sent_with: tuple[NamePattern, ...]
    dead_letter: str | None
    alternate: str | None
    declared: bool
    quorum: bool
    broadcast: bool = False

    @property
    def topic(self) -> bool:
        """Whether its exchange is a topic exchange."""
        return self.kind == "topic"


@dataclass(frozen=True, kw_only=True, slots=True)
class AppNames:
    """All names of an app.

    Attributes:
        queues: The queues of its tasks.
        events: The exchange of events.
        event_queue: The queues of those who listen to events.
        control: The exchange of remote control.
        reply: The exchange of its replies.
        node_queue: The queues by which workers are told what to do.
        reply_queue: The queues by which callers get replies.
        results: The queues of rpc results, or None.
        delayed: Queues and exchanges of native delayed delivery, or None.
        remote_control: Whether workers answer remote control.
        sent_events: Whether a producer tells of what it sends.
    """

    queues: tuple[TaskQueue, ...]
    events: str
    event_queue: NamePattern
    control: str
    reply: str
    node_queue: NamePattern
    reply_queue: NamePattern
    results: NamePattern | None
    delayed: NamePattern | None
    remote_control: bool
    sent_events: bool
    vhost: str = field(default="/")


def names_of(app: Any, *, driver_type: str = "amqp") -> AppNames:
    """Return the names that an app's configuration gives.

    Args:
        app: A Celery app.
        driver_type: What Kombu calls the broker's kind; native delayed delivery is for `amqp`.
    """
    conf, mailbox = app.conf, app.control.mailbox
    control, reply = str(mailbox.exchange.name), str(mailbox.reply_exchange.name)
    keys = _routed_keys(conf.task_routes)
    queues = tuple(
        _queue(queue, binding, keys)
        for queue in app.amqp.queues.values()
        for binding in _bindings(queue)
    )
    prefix = str(getattr(conf, "event_queue_prefix", None) or "celeryev")
    return AppNames(
        queues=queues,
        events=str(getattr(conf, "event_exchange", None) or "celeryev"),
        event_queue=named(f"{prefix}.", Blank.UUID),
        control=control,
        reply=reply,
        node_queue=named(Blank.NODE, f".{control}"),
        reply_queue=named(Blank.UUID, f".{reply}"),
        results=named(Blank.UUID) if _has_rpc_results(app) else None,
        delayed=_delayed(conf, queues) if driver_type == "amqp" else None,
        remote_control=bool(conf.worker_enable_remote_control),
        sent_events=bool(conf.task_send_sent_event),
        vhost=str(app.connection_for_write().virtual_host or "/"),
    )


def _bindings(queue: Any) -> list[tuple[Any, str]]:
    """Return the exchanges that a queue is bound to, each with the key."""
    if queue.exchange or not queue.bindings:
        return [(queue.exchange, str(queue.routing_key or ""))]
    return [(each.exchange, str(each.routing_key or "")) for each in queue.bindings]


def _queue(queue: Any, binding: tuple[Any, str], routed: Mapping[str, set[str]]) -> TaskQueue:
    exchange, key = binding
    name, arguments = str(queue.name), queue.queue_arguments or {}
    generated = type(queue).__name__ == "Broadcast" and name.startswith(_BROADCAST)
    keys = {_sent_with(key), *(named(each) for each in routed.get(name, ()))}
    return TaskQueue(
        name=named(_BROADCAST, Blank.UUID) if generated else named(name),
        exchange=str(exchange.name or "") if exchange else "",
        kind=str(getattr(exchange, "type", "") or "direct"),
        key=key,
        sent_with=tuple(sorted(keys, key=str)),
        dead_letter=arguments.get("x-dead-letter-exchange"),
        alternate=_alternate(exchange),
        declared=not queue.no_declare,
        quorum=arguments.get("x-queue-type") == "quorum",
        broadcast=generated,
    )


def _sent_with(key: str) -> NamePattern:
    """Return the routing keys that a binding's key is there for."""
    parts: list[str | Blank] = []
    for number, word in enumerate(key.split(".")):
        parts.append("." if number else "")
        parts.append(Blank.ANY if word in ("#", "*") else word)
    return named(*parts)


def _routed_keys(routes: Any) -> dict[str, set[str]]:
    """Return the routing keys that task_routes names, by queue."""
    found: dict[str, set[str]] = {}
    for each in routes if isinstance(routes, list | tuple) else [routes]:
        for route in each.values() if isinstance(each, Mapping) else ():
            if isinstance(route, Mapping) and route.get("queue") and route.get("routing_key"):
                found.setdefault(str(route["queue"]), set()).add(str(route["routing_key"]))
    return found


def _alternate(exchange: Any) -> str | None:
    arguments: Mapping[str, Any] = getattr(exchange, "arguments", None) or {}
    return arguments.get("alternate-exchange")


def _has_rpc_results(app: Any) -> bool:
    backend = str(app.conf.result_backend or "")
    return backend.partition(":")[0] in ("rpc", "amqp") and not app.conf.task_ignore_result


def _delayed(conf: Any, queues: tuple[TaskQueue, ...]) -> NamePattern | None:
    # Celery before 5.5 has no native delayed delivery, nor this setting.
    if _DETECT not in conf or not any(queue.quorum for queue in queues):
        return None
    return named("celery_delayed_", Blank.LEVEL) if conf[_DETECT] else None
