"""Queues that only the connection that declared them may use, and how to declare them again."""

from __future__ import annotations

from typing import Any


class ExclusiveQueue:
    """What a connection has declared for itself alone, such as a worker's queue of commands.

    Args:
        name: Its name.
        options: How it was declared.
    """

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        """Know no binding yet."""
        self.name = name
        self.options = {**options, "nowait": False}
        self.bindings: dict[tuple[str, str], dict[str, Any]] = {}

    def delete(self, channel: Any) -> None:
        """Delete it on the connection that has it."""
        channel.queue_delete(self.name)

    def declare(self, channel: Any) -> None:
        """Declare and bind it on another connection."""
        bindings, self.bindings = self.bindings, {}
        channel.queue_declare(self.name, **self.options)
        for (exchange, routing_key), options in bindings.items():
            channel.queue_bind(self.name, exchange, routing_key, **{**options, "nowait": False})
