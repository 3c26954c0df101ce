"""Rich authorization requests (RFC 9396) as scopes.

Source: RabbitMQ, "OAuth 2 guide", "Rich Authorization Request"; `rabbit_oauth2_rar.erl`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mqauth.permissions.checks import ACTIONS
from mqauth.permissions.resource_server import ResourceServer
from mqauth.permissions.wildcards import matches, pattern_parts

_TAGS = ("monitoring", "administrator", "management", "policymaker")
_ATTRIBUTES = ("cluster", "vhost", "queue", "exchange", "routing-key")


def scopes_of_details(details: object, server: ResourceServer) -> list[str]:
    """Return the scopes, `<id>.` in front, that `authorization_details` amount to."""
    if not isinstance(details, list):
        return []
    scopes: list[str] = []
    for detail in details:
        if isinstance(detail, Mapping) and _recognized(detail, server):
            paths = _paths(detail["locations"], server.id)
            scopes += (
                [] if not paths else list(_scopes(_texts(detail["actions"]), paths, server.id))
            )
    return scopes


def _recognized(detail: Mapping[str, Any], server: ResourceServer) -> bool:
    complete = all(name in detail for name in ("type", "locations", "actions"))
    # The broker's own answer to an empty type is no; to a missing one, that nothing equals it.
    return (
        complete
        and bool(server.resource_server_type)
        and (detail["type"] == server.resource_server_type)
    )


def _scopes(actions: list[str], paths: list[str], server_id: str) -> Iterator[str]:
    for action in actions:
        if action in _TAGS:
            yield f"{server_id}.tag:{action}"
        elif action in ACTIONS:
            for path in reversed(paths):
                yield f"{server_id}.{action}:{path}"


def _paths(locations: object, server_id: str) -> list[str]:
    found = []
    for location in _texts(locations):
        attributes = _attributes(location)
        cluster = attributes.get("cluster")
        if cluster is None or not matches(server_id.encode(), pattern_parts(cluster)):
            continue
        queue, exchange = attributes.get("queue"), attributes.get("exchange")
        if queue is not None and exchange is not None and queue != exchange:
            continue
        name = queue if queue is not None else exchange if exchange is not None else "*"
        found.append(f"{attributes.get('vhost', '*')}/{name}/{attributes.get('routing-key', '*')}")
    return found


def _attributes(location: str) -> dict[str, str]:
    attributes = {}
    for item in filter(None, location.split("/")):
        parts = [part for part in item.split(":") if part]
        if len(parts) > 1 and parts[0] in _ATTRIBUTES:
            attributes[parts[0]] = parts[1]
    return attributes


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
