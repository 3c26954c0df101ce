"""A queue that tasks go through: what is declared for it, and what is published to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from kombu import Exchange, Queue

from mqauth.permissions.name_patterns import Blank, NamePattern, named

_GENERATED = re.compile(r"(.*\.)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LIKE_A_DELAY = re.compile(r"\.?[01](\.[01])*")
_NO_KINDS: Mapping[str, str] = MappingProxyType({})
# Kombu declares no exchange whose name begins so: they are the broker's own.
_INTERNAL = "amq."


@dataclass(frozen=True, order=True, slots=True)
class Publication:
    """How a task for a queue is published.

    Attributes:
        exchange: The exchange; empty for the default one.
        topic: Whether that is a topic exchange.
        key: The routing key, as text to sort and compare; it may hold wildcards of a binding.
    """

    exchange: str
    topic: bool
    key: str

    @property
    def topic_key(self) -> NamePattern | None:
        """The routing keys, where they are checked."""
        return keys_for(self.key) if self.topic else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """A binding of a queue.

    Attributes:
        exchange: The exchange; empty for the default one.
        kind: The exchange's type.
        key: The key that the queue is bound with.
        alternate: The exchange's alternate exchange, or None.
        declared: Whether Celery declares the exchange.
    """

    exchange: str
    kind: str
    key: str
    alternate: str | None
    declared: bool

    @property
    def topic(self) -> bool:
        """Whether its exchange is a topic exchange."""
        return self.kind == "topic"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskQueue:
    """A queue that tasks go through.

    Attributes:
        name: Its name.
        main: The binding that tasks are sent by.
        bindings: The bindings that its consumers make: those of its own, or else the main one.
        published: How tasks for it are published.
        dead_letter: Its dead-letter exchange, or None.
        declared: Whether queue and exchanges are declared by Celery.
        quorum: Whether it is a quorum queue.
        broadcast: Whether it is a queue to all workers, which producers do not declare.
    """

    name: NamePattern
    main: Binding
    bindings: tuple[Binding, ...]
    published: tuple[Publication, ...]
    dead_letter: str | None
    declared: bool
    quorum: bool
    broadcast: bool = False

    @property
    def identity(self) -> tuple[NamePattern, Binding | None]:
        """What tells it from others: its name, or for a name not known yet also its binding."""
        known = self.name.exact and bool(str(self.name))
        return (self.name, None if known else self.main)


def task_queue(queue: Any, *, name: NamePattern | None = None) -> TaskQueue:
    """Return what is known of a queue of Kombu's.

    Args:
        queue: The queue, its exchange filled in as Celery does.
        name: Its name, where that is made at run time.
    """
    broadcast, arguments = type(queue).__name__ == "Broadcast", queue.queue_arguments or {}
    generated = _GENERATED.fullmatch(str(queue.name)) if broadcast else None
    if generated is not None:
        name = named(generated[1], Blank.UUID)
    main = _binding(queue.exchange, queue.routing_key)
    # Kombu declares a copy of the queue, and a queue of several bindings is copied without its
    # exchange: Celery's default, filled in later, is only published to.
    own = tuple(_binding(each.exchange, each.routing_key) for each in queue.bindings or ())
    return TaskQueue(
        name=name or named(str(queue.name)),
        main=main,
        bindings=own or (main,),
        published=(publication(queue, {}),),
        dead_letter=arguments.get("x-dead-letter-exchange"),
        declared=not queue.no_declare,
        quorum=arguments.get("x-queue-type") == "quorum",
        broadcast=broadcast,
    )


def publication(
    queue: Any, options: Mapping[str, Any], kinds: Mapping[str, str] = _NO_KINDS
) -> Publication:
    """Return how Celery publishes a task for a queue.

    Args:
        queue: The queue of Kombu's that the task is routed to.
        options: What else routes and tasks say: `exchange`, `exchange_type`, `routing_key`.
        kinds: Types of exchanges, by their names.

    Source: `celery.app.amqp.AMQP._create_task_sender`.
    """
    exchange, key = options.get("exchange"), options.get("routing_key")
    kind = str(options.get("exchange_type") or _kind(queue.exchange))
    if kind == "direct" and not (exchange and key):
        return Publication("", topic=False, key="")
    if exchange is None:
        exchange = queue.exchange
    elif _name(exchange) != _name(queue.exchange):
        # Where nobody knows the type of an exchange: what opens a topic suits all.
        kind = str(getattr(exchange, "type", "") or kinds.get(_name(exchange), "topic"))
    name = _name(exchange)
    topic = kind == "topic" and bool(name)
    return Publication(name, topic=topic, key=str(key or queue.routing_key or "") if topic else "")


def sent_past_queues(options: Mapping[str, Any], kinds: Mapping[str, str] = _NO_KINDS) -> TaskQueue:
    """Return what stands for the queues behind an exchange, of which the sender knows nothing.

    Args:
        options: What routes and tasks say: `exchange`, `exchange_type`, `routing_key`.
        kinds: Types of exchanges, by their names.
    """
    # Celery delays what names the type of its exchange, and cannot where a route does not.
    kind, key = str(options.get("exchange_type") or ""), str(options.get("routing_key") or "")
    main = _binding(Exchange(_name(options["exchange"]), type=kind, no_declare=True), key)
    return TaskQueue(
        name=named(),
        main=main,
        bindings=(main,),
        published=(publication(Queue(exchange=Exchange(type="")), options, kinds),),
        dead_letter=None,
        declared=False,
        quorum=False,
    )


def merged(queues: Iterable[TaskQueue]) -> tuple[TaskQueue, ...]:
    """Return each queue once, with all ways of publishing to it."""
    found: dict[object, TaskQueue] = {}
    for queue in queues:
        known = found.setdefault(queue.identity, queue)
        published = tuple(sorted({*known.published, *queue.published}))
        found[queue.identity] = replace(known, published=published)
    return tuple(found.values())


def keys_for(key: str) -> NamePattern:
    """Return the routing keys that a binding's key is there for."""
    parts: list[str | Blank] = []
    for number, word in enumerate(key.split(".")):
        parts.append("." if number else "")
        parts.append(Blank.ANY if word in ("#", "*") else word)
    return named(*parts)


def delayed_keys(key: str) -> NamePattern:
    """Return the routing keys that a task is delayed with for a binding of this key."""
    keys, end = keys_for(key).parts, ""
    for part in reversed(keys):
        if isinstance(part, Blank):
            break
        end = part + end
    if _LIKE_A_DELAY.fullmatch(end):
        # A scope's pattern stops at the first place that looks like its end: within the delay.
        return named(Blank.ANY)
    return named(Blank.DELAY, ".", *keys)


def _binding(exchange: Any, key: Any) -> Binding:
    name = _name(exchange)
    arguments: Mapping[str, Any] = getattr(exchange, "arguments", None) or {}
    made = not getattr(exchange, "no_declare", False) and not name.startswith(_INTERNAL)
    return Binding(
        exchange=name,
        kind=_kind(exchange),
        key=str(key or ""),
        alternate=arguments.get("alternate-exchange"),
        declared=made and bool(name),
    )


def _kind(exchange: Any) -> str:
    return str(getattr(exchange, "type", "") or "direct")


def _name(exchange: Any) -> str:
    return str(getattr(exchange, "name", exchange) or "")
