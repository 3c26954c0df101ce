"""The values that questions about permissions are made of."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

Action = Literal["configure", "write", "read"]
Kind = Literal["vhost", "resource", "topic"]
Resource = Literal["queue", "exchange"]

ACTIONS: tuple[Action, ...] = ("configure", "write", "read")

DEFAULT_EXCHANGE = "amq.default"
"""What the broker calls the exchange without a name where it checks permissions."""


class Check(NamedTuple):
    """One thing that the broker looks up before it does something.

    Attributes:
        kind: Whether it is about a virtual host, a queue or exchange, or a topic in an exchange.
        vhost: The virtual host.
        name: The queue or exchange; the exchange where `kind` is `topic`.
        action: What is to be done with it; None for a virtual host.
        routing_key: The topic, where `kind` is `topic`.
        resource: Whether `name` is a queue or an exchange; brokers do not tell them apart.
    """

    kind: Kind
    vhost: str
    name: str = ""
    action: Action | None = None
    routing_key: str = ""
    resource: Resource = "queue"

    def __str__(self) -> str:
        """Say it in words."""
        if self.kind == "vhost":
            return f"enter virtual host {self.vhost!r}"
        if self.kind == "topic":
            return f"{self.action} topic {self.routing_key!r} of exchange {self.name!r}"
        return f"{self.action} {self.resource} {self.name!r}"


class Decision(NamedTuple):
    """What the broker answers to one check.

    Attributes:
        allow: Whether it allows it.
        because: Why, in words.
        decided_by: The scope or pattern that decided; None where there was none.
    """

    allow: bool
    because: str
    decided_by: str | None = None


def broker_name(check: Check) -> str:
    """Return the name that the broker looks up: the exchange without a name has one there."""
    return DEFAULT_EXCHANGE if check.resource == "exchange" and not check.name else check.name


class Grant(Protocol):
    """What somebody may do: scopes of a token, or regular expressions of a user."""

    def decide(self, check: Check) -> Decision:
        """Answer one check as the broker would."""
        ...

    def missing(self, check: Check) -> str:
        """Return what would have to be added for the check to be allowed."""
        ...

    def hint(self, check: Check) -> str | None:
        """Return what comes nearest to allowing a refused check, if that can be told."""
        ...
