"""What the management API tells, as far as it is used here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class WhoAmI:
    """Whom the broker takes the credential for.

    Args:
        name: The user's name; of a token, what the broker reads from it.
        tags: Its tags, such as `administrator` and `monitoring`.
    """

    name: str
    tags: tuple[str, ...]

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Self:
        """Read `GET /api/whoami`; versions differ in how they write tags."""
        tags = answer.get("tags") or ()
        parts = tags.split(",") if isinstance(tags, str) else tags
        return cls(name=str(answer["name"]), tags=tuple(str(tag) for tag in parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """What runs there.

    Args:
        version: RabbitMQ's version.
        cluster: Name of the cluster.
        node: Name of the node that answered.
    """

    version: str
    cluster: str
    node: str

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Self:
        """Read `GET /api/overview`."""
        return cls(
            version=str(answer["rabbitmq_version"]),
            cluster=str(answer.get("cluster_name", "")),
            node=str(answer.get("node", "")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueFacts:
    """A queue at one moment; counts are None where the broker has not reckoned them yet.

    Args:
        name: Its name.
        vhost: Its virtual host.
        kind: `classic`, `quorum` or `stream`.
        state: `running` where all is well.
        consumers: Who consumes from it.
        ready: Messages that wait.
        unacknowledged: Messages delivered and not yet acknowledged.
    """

    name: str
    vhost: str
    kind: str
    state: str | None
    consumers: int | None
    ready: int | None
    unacknowledged: int | None

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Self:
        """Read `GET /api/queues/VHOST/NAME`."""
        return cls(
            name=str(answer["name"]),
            vhost=str(answer["vhost"]),
            kind=str(answer.get("type", "classic")),
            state=answer.get("state"),
            consumers=answer.get("consumers"),
            ready=answer.get("messages_ready"),
            unacknowledged=answer.get("messages_unacknowledged"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Permission:
    """What a user of the broker's own may do on one virtual host: regular expressions."""

    user: str
    vhost: str
    configure: str
    write: str
    read: str

    @classmethod
    def from_json(cls, answer: Mapping[str, Any]) -> Self:
        """Read one item of `GET /api/users/NAME/permissions`."""
        return cls(**{name: str(answer[name]) for name in cls.__dataclass_fields__})
