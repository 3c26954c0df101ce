"""Tries whether the broker permits an operation, without doing it.

The broker looks at permissions first. So each operation is asked for in a way that it refuses
afterwards for another reason, or takes back: declarations with arguments that cannot be, consumers
with a priority that is none, bindings that nobody has made to be taken away, messages in a
transaction that is rolled back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace

from mqauth.diagnosis.session import Refusal, Session
from mqauth.diagnosis.wire import short, table
from mqauth.permissions.operations import OPERATIONS, Operation

_TICKET = struct.pack("!H", 0)
_PROBE = table({"x-mqauth-probe": "none has this"})
_MISSING = 404
_OF_TOPIC = "access to topic"
_PERMITTED = (_MISSING, 405, 406)
REFUSED = 403
_PUBLISH, _CONSUME = (
    next(kind for kind in OPERATIONS if kind.name == name)
    for name in ("basic.publish", "basic.consume")
)
_DECLARE, _LOOK = (
    {
        kind.name.partition(".")[0]: kind
        for kind in OPERATIONS
        if kind.name.endswith(".declare") and kind.variant == variant
    }
    for variant in ("", "passive")
)
# What an operation is about and has to be there; what is taken away need not be.
_ABOUT: dict[str, tuple[tuple[str, str], ...]] = {
    "basic.publish": (("exchange", "exchange"),),
    "basic.consume": (("queue", "queue"),),
    "basic.get": (("queue", "queue"),),
    "queue.purge": (("queue", "queue"),),
    "queue.bind": (("queue", "queue"), ("exchange", "exchange")),
    "exchange.bind": (("exchange", "source"), ("exchange", "destination")),
    "queue.declare": (("queue", "queue"),),
    "exchange.declare": (("exchange", "exchange"),),
}


def undeclared(operations: Iterable[Operation]) -> list[Operation]:
    """Return passive declarations of all that operations use and none of them declares."""
    made, used = set(), {}
    for operation in operations:
        kind = operation.kind
        for resource, role in _ABOUT.get(kind.name, ()):
            called: str = getattr(operation, role)
            if kind.name.endswith(".declare") and kind.variant != "passive":
                made.add((resource, called))
            elif called and not called.startswith("amq."):  # those are the broker's own
                used[resource, called] = operation.vhost
    return [
        _looking(resource, called, vhost)
        for (resource, called), vhost in used.items()
        if (resource, called) not in made
    ]


def _looking(resource: str, called: str, vhost: str) -> Operation:
    kind = _LOOK[resource]
    if resource == "queue":
        return Operation(kind=kind, vhost=vhost, queue=called)
    return Operation(kind=kind, vhost=vhost, exchange=called)


def is_missing(session: Session, looked_for: Operation) -> bool:
    """Tell whether the broker says that what is passively declared is not there.

    Raises:
        Refusal: It closed the connection for another reason.
        LostError: It ended the connection without a word.
    """
    try:
        _ask(session, looked_for)
    except Refusal as answer:
        if answer.code != REFUSED and answer.code not in _PERMITTED:
            raise
        return answer.code == _MISSING
    return False


def declaring(looked_for: Operation) -> Operation:
    """Return what makes that which is passively declared."""
    return replace(looked_for, kind=_DECLARE[looked_for.kind.name.partition(".")[0]])


def refusals(session: Session, operation: Operation) -> str | None:
    """Return the first thing that the broker says against an operation and what comes with it.

    A dead-letter or alternate exchange needs reading what it is set on, and writing to it; topics
    do not come into it.

    Raises:
        Refusal: It closed the connection for another reason.
        LostError: It ended the connection without a word.
    """
    said = refusal(session, operation)
    if said is not None:
        return said
    if operation.dead_letter is not None:
        reading = refusal(session, replace(operation, kind=_CONSUME))
        return reading or _writing(session, operation, operation.dead_letter)
    if operation.alternate is not None:
        # Nothing but a binding reads an exchange, and that wants to write somewhere as well. But
        # the broker looks for names, whatever they are of.
        named_so = replace(operation, kind=_CONSUME, queue=operation.exchange)
        reading = refusal(session, named_so)
        if reading is not None:
            return reading.replace(" to queue ", " to exchange ", 1)
        return _writing(session, operation, operation.alternate)
    return None


def _writing(session: Session, operation: Operation, exchange: str) -> str | None:
    said = refusal(session, replace(operation, kind=_PUBLISH, exchange=exchange, routing_key=""))
    # The broker looks at the topic only where it permits writing to the exchange.
    return None if said is not None and _OF_TOPIC in said else said


def refusal(session: Session, operation: Operation) -> str | None:
    """Return what the broker says against an operation, or None if it permits it.

    Raises:
        Refusal: It closed the connection for another reason.
        LostError: It ended the connection without a word.
    """
    try:
        _ask(session, operation)
    except Refusal as answer:
        if answer.code == REFUSED:
            return answer.text
        if answer.code not in _PERMITTED:
            raise
    return None


def _ask(session: Session, operation: Operation) -> None:
    name = operation.kind.name
    if name == "basic.publish":
        session.publish_and_take_back(operation.exchange, operation.routing_key)
    elif name in ("queue.declare", "queue.delete"):
        _declare_queue(session, operation)
    elif name in ("exchange.declare", "exchange.delete"):
        passive = operation.kind.variant == "passive"
        arguments = table({"alternate-exchange": 5})
        session.ask(
            40, 10,
            _TICKET + short(operation.exchange) + short("direct") + bytes([passive]) + arguments,
            11,
        )  # fmt: skip
    elif name in ("queue.bind", "queue.unbind"):
        names = short(operation.queue) + short(operation.exchange) + short(operation.routing_key)
        session.ask(50, 50, _TICKET + names + _PROBE, 51)
    elif name in ("exchange.bind", "exchange.unbind"):
        names = short(operation.destination) + short(operation.source)
        names += short(operation.routing_key) + b"\x00"
        session.ask(40, 40, _TICKET + names + _PROBE, 51)
    elif name in ("basic.consume", "basic.get", "queue.purge"):
        arguments = table({"x-priority": "none"})
        session.ask(60, 20, _TICKET + short(operation.queue) + short("") + b"\x00" + arguments, 21)


def _declare_queue(session: Session, operation: Operation) -> None:
    passive = operation.kind.variant == "passive"
    arguments = table({"x-expires": -1})
    payload = _TICKET + short(operation.queue) + bytes([passive]) + arguments
    session.ask(50, 10, payload, 11)
