"""What a process was recorded to ask of its broker, as operations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mqauth.permissions.operations import Operation, OperationKind, operation_kind


def operations(traces: list[Path], vhost: str) -> list[Operation]:
    """Return the operations of some records, each once."""
    lines = [json.loads(line) for trace in traces for line in trace.read_text().splitlines()]
    topics = {args[1] for sig, args in lines if sig == [40, 10] and args[2] == "topic"}
    found = [operation for sig, args in lines for operation in _read(sig, args, vhost, topics)]
    return list(dict.fromkeys(found))


def _kind(title: str) -> OperationKind:
    kind = operation_kind(title)
    assert kind is not None
    return kind


def _read(sig: list[int], args: list[Any], vhost: str, topics: set[str]) -> Iterator[Operation]:
    name = {
        (40, 10): "exchange.declare",
        (40, 30): "exchange.bind",
        (50, 10): "queue.declare",
        (50, 20): "queue.bind",
        (60, 20): "basic.consume",
        (60, 40): "basic.publish",
    }.get((sig[0], sig[1]))
    if name == "exchange.declare":
        other = (args[8] or {}).get("alternate-exchange")
        title = "exchange.declare (passive)" if args[3] else name
        kind = _kind(title if other is None else "exchange.declare (with AE)")
        yield Operation(kind=kind, vhost=vhost, exchange=args[1], alternate=other)
    elif name == "queue.declare":
        dead = (args[7] or {}).get("x-dead-letter-exchange")
        title = "queue.declare (passive)" if args[2] else name
        kind = _kind(title if dead is None else "queue.declare (with DLX)")
        yield Operation(kind=kind, vhost=vhost, queue=args[1], dead_letter=dead)
    elif name == "queue.bind":
        topic = args[2] in topics
        yield Operation(
            kind=_kind(name), vhost=vhost, queue=args[1], exchange=args[2], routing_key=args[3],
            topic=topic,
        )  # fmt: skip
    elif name == "exchange.bind":
        topic = args[2] in topics
        yield Operation(
            kind=_kind(name), vhost=vhost, destination=args[1], source=args[2],
            routing_key=args[3], topic=topic,
        )  # fmt: skip
    elif name == "basic.consume":
        yield Operation(kind=_kind(name), vhost=vhost, queue=args[1])
    elif name == "basic.publish":
        topic = args[1] in topics or args[1].startswith("celery_delayed_")
        yield Operation(
            kind=_kind(name), vhost=vhost, exchange=args[1], routing_key=args[2], topic=topic
        )
