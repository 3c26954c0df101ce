"""What each AMQP 0-9-1 operation needs.

Source: Alibaba Cloud, "Open-source authentication and permission management" (the table);
RabbitMQ, "Access control"; `rabbit_channel.erl` for topics, reserved names and versions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mqauth.errors import MQAuthError
from mqauth.permissions.checks import Action, Check, Resource
from mqauth.permissions.versions import NEWEST, BrokerVersion

Role = Literal["queue", "exchange", "destination", "source", "alternate", "dead_letter"]

DIRECT_REPLY = "amq.rabbitmq.reply-to"
_GENERATED = "amq.gen-" + "x" * 22
_TOPIC_EXCHANGES = frozenset(
    {"amq.topic", "amq.rabbitmq.trace", "amq.rabbitmq.log", "amq.rabbitmq.event", "celeryev"}
)
_DELAYED = "celery_delayed_"
_LINE_ENDS = str.maketrans("", "", "\r\n")


class UnknownOperationError(MQAuthError, LookupError):
    """An operation that the table does not have."""


@dataclass(frozen=True, slots=True)
class Need:
    """A permission that an operation needs, and on what."""

    action: Action
    role: Role


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationKind:
    """A row of the table.

    Attributes:
        name: The AMQP method.
        variant: Which way of using it, in words; empty for the plain one.
        needs: What it needs.
        topic: What it does with a topic, where the exchange is a topic exchange.
        words: How people say it; for `mqauth explain`.
    """

    name: str
    variant: str = ""
    needs: tuple[Need, ...] = ()
    topic: Action | None = None
    words: str = ""

    @property
    def title(self) -> str:
        """The method and its variant."""
        return f"{self.name} ({self.variant})" if self.variant else self.name

    def as_taken(self, role: Role, name: str) -> str:
        """Return the name that the broker makes of one that it is given in a role.

        Line ends are taken out where something is declared, deleted or bound, and stay where
        messages are published, got or purged, and in arguments.
        """
        given = self.name.startswith("basic.") or self.name == "queue.purge"
        argument = role in ("alternate", "dead_letter")
        return name if given or argument else name.translate(_LINE_ENDS)


def _kind(
    name: str,
    *needs: tuple[Action, Role],
    variant: str = "",
    topic: Action | None = None,
    words: str = "",
) -> OperationKind:
    return OperationKind(
        name=name,
        variant=variant,
        needs=tuple(Need(action, role) for action, role in needs),
        topic=topic,
        words=words,
    )


OPERATIONS: tuple[OperationKind, ...] = (
    _kind("connection.open", words="enter the virtual host"),
    _kind("exchange.declare", ("configure", "exchange"), words="declare exchange"),
    _kind("exchange.declare", variant="passive", words="passively declare exchange"),
    _kind(
        "exchange.declare",
        ("configure", "exchange"),
        ("read", "exchange"),
        ("write", "alternate"),
        variant="with AE",
        words="declare exchange with alternate exchange",
    ),
    _kind("exchange.delete", ("configure", "exchange"), words="delete exchange"),
    _kind("queue.declare", ("configure", "queue"), words="declare queue"),
    _kind("queue.declare", variant="passive", words="passively declare queue"),
    _kind(
        "queue.declare",
        ("configure", "queue"),
        ("read", "queue"),
        ("write", "dead_letter"),
        variant="with DLX",
        words="declare queue with dead-letter exchange",
    ),
    _kind("queue.delete", ("configure", "queue"), words="delete queue"),
    _kind(
        "exchange.bind",
        ("write", "destination"),
        ("read", "source"),
        topic="read",
        words="bind exchange to exchange",
    ),
    _kind(
        "exchange.unbind",
        ("write", "destination"),
        ("read", "source"),
        topic="read",
        words="unbind exchange from exchange",
    ),
    _kind("queue.bind", ("write", "queue"), ("read", "exchange"), topic="read", words="bind queue"),
    _kind(
        "queue.unbind", ("write", "queue"), ("read", "exchange"), topic="read", words="unbind queue"
    ),
    _kind("basic.publish", ("write", "exchange"), topic="write", words="publish to exchange"),
    _kind("basic.get", ("read", "queue"), words="get from queue"),
    _kind("basic.consume", ("read", "queue"), words="consume from queue"),
    _kind("queue.purge", ("read", "queue"), words="purge queue"),
)
"""Every operation that needs a permission: the rows of the table, and entering a virtual host."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """An operation on something.

    Attributes:
        kind: Which row of the table.
        vhost: The virtual host.
        queue: The queue; empty for one that the broker is to name.
        exchange: The exchange; of a binding of a queue, its source. Empty for the default one.
        destination: Of a binding between exchanges, where messages go.
        source: Of a binding between exchanges, where they come from.
        alternate: The alternate exchange, or None. Empty for the default one, as next.
        dead_letter: The dead-letter exchange, or None.
        routing_key: The routing or binding key.
        also_to: Routing keys of the CC and BCC headers.
        topic: Whether the exchange is a topic exchange; None where nobody knows.
    """

    kind: OperationKind
    vhost: str = "/"
    queue: str = ""
    exchange: str = ""
    destination: str = ""
    source: str = ""
    alternate: str | None = None
    dead_letter: str | None = None
    routing_key: str = ""
    also_to: tuple[str, ...] = field(default=())
    topic: bool | None = None

    def __str__(self) -> str:
        """Say it in words."""
        words = self.kind.words
        if self.kind.name == "connection.open":
            return f"enter virtual host {self.vhost!r}"
        if self.kind.name.startswith("queue.") and self.kind.topic:
            to = "to" if self.kind.name == "queue.bind" else "from"
            return f"{words} {self.queue!r} {to} exchange {self.exchange!r}{self._key()}"
        if self.kind.name.startswith("exchange.") and self.kind.topic:
            first, to = words.rsplit(" exchange", 1)[0].rsplit(" ", 1)
            return f"{first} {self.destination!r} {to} exchange {self.source!r}{self._key()}"
        if " with " in words:
            first, other = words.split(" with ", 1)
            alternate = self.kind.variant == "with AE"
            name = self.exchange if alternate else self.queue
            given = self.alternate if alternate else self.dead_letter
            return f"{first} {name!r} with {other} {given or '(default)'!r}"
        name = self.queue if words.endswith("queue") else self.exchange or "(default)"
        return f"{words} {name!r}{self._key() if self.kind.topic else ''}"

    def _key(self) -> str:
        return f" with key {self.routing_key!r}" if self.routing_key else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the broker looks at before it does an operation.

    Attributes:
        steps: Each of them has to be allowed, by any of its checks.
        forbidden: Why nobody may do it whatever his permissions, or None.
        assumed_topic: Whether the topic checks stand on the assumption of a topic exchange.
    """

    steps: tuple[tuple[Check, ...], ...]
    forbidden: str | None = None
    assumed_topic: bool = False


def is_topic_exchange(name: str) -> bool | None:
    """Tell whether an exchange of this name is a topic exchange, where the name tells."""
    if not name or (name.startswith("amq.") and name not in _TOPIC_EXCHANGES):
        return False
    return True if name in _TOPIC_EXCHANGES or name.startswith(_DELAYED) else None


def plan(operation: Operation, version: BrokerVersion = NEWEST) -> Plan:
    """Return what a broker of this version looks at before it does this."""
    kind = operation.kind
    forbidden = _forbidden(operation)
    if kind.name == "connection.open":
        return Plan(((Check(kind="vhost", vhost=operation.vhost),),))
    if forbidden or _free(operation):
        return Plan((), forbidden)
    if kind.variant == "passive":
        return Plan(_passive(operation, version))
    steps = [(_check(operation, need),) for need in kind.needs]
    topic = operation.topic
    source = _source(operation)
    if kind.topic is None or not source:
        return Plan(tuple(steps))
    if topic is None:
        topic = is_topic_exchange(source)
    assumed = topic is None and bool(operation.routing_key)
    if topic or assumed:
        steps += [(_topic_check(operation, source, key),) for key in _keys(operation, version)]
    return Plan(tuple(steps), assumed_topic=assumed)


def operation_kind(title: str) -> OperationKind | None:
    """Return the row of the table with this title, such as `queue.declare (passive)`."""
    return next((kind for kind in OPERATIONS if kind.title == title), None)


def known_kind(title: str) -> OperationKind:
    """Return the row of the table with this title.

    Raises:
        UnknownOperationError: There is none: whoever asked made a mistake.
    """
    kind = operation_kind(title)
    if kind is None:
        raise UnknownOperationError(
            f"the table of operations has no {title!r}",
            remedy="name a row as operations.OPERATIONS has it, such as 'queue.declare'",
        )
    return kind


def _keys(operation: Operation, version: BrokerVersion) -> list[str]:
    publishes = operation.kind.name == "basic.publish"
    also = operation.also_to if publishes and version.has("cc_topics") else ()
    return [operation.routing_key, *also]


def _source(operation: Operation) -> str:
    return operation.source if operation.kind.name.startswith("exchange.") else operation.exchange


def _check(operation: Operation, need: Need) -> Check:
    name = operation.kind.as_taken(need.role, getattr(operation, need.role) or "")
    resource: Resource = "queue" if need.role == "queue" else "exchange"
    if resource == "queue" and not name:
        name = _GENERATED
    return Check(
        kind="resource", vhost=operation.vhost, name=name, action=need.action, resource=resource
    )


def _topic_check(operation: Operation, source: str, key: str) -> Check:
    return Check(
        kind="topic",
        vhost=operation.vhost,
        name=operation.kind.as_taken("source", source),
        action=operation.kind.topic,
        routing_key=key,
        resource="exchange",
    )


def _passive(operation: Operation, version: BrokerVersion) -> tuple[tuple[Check, ...], ...]:
    role: Role = "queue" if operation.kind.name == "queue.declare" else "exchange"
    if version.has("passive_any"):
        actions: tuple[Action, ...] = ("read", "write", "configure")
        return (tuple(_check(operation, Need(action, role)) for action in actions),)
    if version.has("passive_configure"):
        return ((_check(operation, Need("configure", role)),),)
    return ()


def _forbidden(operation: Operation) -> str | None:
    name = operation.kind.name
    if name in ("exchange.declare", "exchange.delete") and not operation.exchange:
        return "the default exchange cannot be declared or deleted"
    if name.startswith("queue.") and operation.kind.topic and not operation.exchange:
        return "nothing can be bound to the default exchange: every queue already is, by its name"
    if name in ("exchange.bind", "exchange.unbind") and not (
        operation.source and operation.destination
    ):
        return "the default exchange cannot be bound"
    if name == "exchange.delete" and operation.exchange.startswith("amq."):
        return "names that begin with amq. are the broker's own"
    reserved = operation.queue.startswith("amq.") and not operation.queue.startswith(DIRECT_REPLY)
    if name == "queue.declare" and operation.kind.variant != "passive" and reserved:
        return "names that begin with amq. are the broker's own"
    return None


def _free(operation: Operation) -> bool:
    """Tell whether it needs no permission at all: direct reply-to."""
    if operation.kind.name == "queue.declare":
        return operation.queue.startswith(DIRECT_REPLY)
    return operation.kind.name == "basic.consume" and operation.queue == DIRECT_REPLY
