"""The grammar of OAuth 2 scopes: `<permission>:<vhost>/<name>[/<routing key>]` and `tag:<tag>`.

A scope that does not keep to it is ignored by the broker in silence; here it says why.

Source: RabbitMQ, rabbitmq_auth_backend_oauth2, "Scope-to-permission translation".
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import NamedTuple

from mqauth.permissions.checks import ACTIONS, Action
from mqauth.permissions.wildcards import decodable, literal, match

TAG = "tag:"
_BY_NAME: dict[str, Action] = {action: action for action in ACTIONS}


class Scope(NamedTuple):
    """A scope that grants something.

    Attributes:
        text: The scope without its prefix, variables filled in.
        action: What it permits.
        vhost: The pattern of virtual hosts.
        name: The pattern of names of queues and exchanges.
        routing_key: The pattern of routing keys; None in a scope of two segments, which opens no
            topic.
    """

    text: str
    action: Action
    vhost: str
    name: str
    routing_key: str | None

    def opens(self, vhost: str) -> bool:
        """Tell whether it opens a virtual host: any permission on anything there does."""
        return match(vhost, self.vhost)

    def permits(self, vhost: str, name: str, action: Action) -> bool:
        """Tell whether it permits this on a queue or an exchange."""
        return self.action == action and match(name, self.name) and match(vhost, self.vhost)

    def permits_topic(self, vhost: str, name: str, action: Action, routing_key: str) -> bool:
        """Tell whether it permits this on a topic exchange with this routing key."""
        return (
            self.routing_key is not None
            and self.permits(vhost, name, action)
            and match(routing_key, self.routing_key)
        )


@dataclass(frozen=True, slots=True)
class TagScope:
    """A scope that gives its user a tag, such as `administrator`, and no permission."""

    text: str
    tag: str


@dataclass(frozen=True, slots=True)
class IgnoredScope:
    """A scope that the broker passes over without a word.

    Attributes:
        text: The scope.
        lacks: The prefix that it lacks; None if that is not the reason.
    """

    text: str
    lacks: str | None = None

    @property
    def reason(self) -> str:
        """Why, and what to write instead where that can be told."""
        if self.lacks is not None:
            return f"it does not begin with the broker's prefix {self.lacks!r}"
        word, colon, pattern = self.text.partition(":")
        action = next((action for action in ACTIONS if action == word), None)
        if action is None or not colon:
            return _not_a_permission(self.text, word, colon)
        return _wrong_segments(action, pattern.split("/"))


def parse_scope(text: str) -> Scope | TagScope | IgnoredScope:
    """Read one scope, prefix already taken off."""
    # Not remembered: where scopes seldom come again, to look takes as long as to read.
    word, colon, pattern = text.partition(":")
    action = _BY_NAME.get(word)
    if action is not None and colon:
        segments = pattern.split("/")
        if len(segments) == 2:
            return Scope(text, action, segments[0], segments[1], None)
        if len(segments) == 3:
            return Scope(text, action, *segments)
        return IgnoredScope(text)
    return TagScope(text, text[len(TAG) :]) if text.startswith(TAG) else IgnoredScope(text)


def weakness(scope: Scope) -> str | None:
    """Return why a scope permits less than it looks, if it does."""
    if not scope.vhost:
        return f"its virtual host is empty; / is written %2F: {scope_for(scope.action, '/', '')}"
    for what, pattern in (("virtual host", scope.vhost), ("name", scope.name)):
        if not decodable(pattern):
            return f"its {what} has a % without two hexadecimal digits after it: it permits nothing"
    if scope.routing_key is not None and not decodable(scope.routing_key):
        return "its routing key has a % without two hexadecimal digits after it: it opens no topics"
    return None


def scope_for(action: Action, vhost: str, name: str, routing_key: str | None = None) -> str:
    """Return the scope that permits just this, prefix left out."""
    scope = f"{action}:{literal(vhost)}/{literal(name)}"
    return scope if routing_key is None else f"{scope}/{literal(routing_key)}"


def _not_a_permission(text: str, word: str, colon: str) -> str:
    near = difflib.get_close_matches(word.lower(), ACTIONS, 1, 0.7)
    if colon and near:
        return f"{word!r} is no permission; did you mean {near[0]!r}?"
    for action in ACTIONS:
        if f"{action}:" in text:
            return f"it has a prefix that is not the broker's: {text.partition(f'{action}:')[0]!r}"
    return "it does not begin with configure:, write:, read: or tag:"


def _wrong_segments(action: str, segments: list[str]) -> str:
    if len(segments) == 1:
        return f"it names no resource: write {action}:<vhost>/<name>"
    if segments[0] == "":
        rest = "/".join(segments[1:]).lstrip("/")
        return f"it has {len(segments)} segments; virtual host / is written {action}:%2F/{rest}"
    return f"it has {len(segments)} segments, not two or three; write a / in a name as %2F"
