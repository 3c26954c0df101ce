"""RabbitMQ's own ("open-source") permissions: three regular expressions a user and virtual host.

The expressions are not anchored: `celery` also matches `my-celery-2`. An empty one means `^$`. One
that cannot be compiled or run to its end denies. Topics are free where no topic permission is set.

Source: RabbitMQ, "Access control"; `rabbit_auth_backend_internal.erl`. ApsaraMQ for RabbitMQ with
open-source authentication is the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mqauth.permissions.checks import Action, Check, Decision, broker_name
from mqauth.permissions.pcre import search
from mqauth.permissions.versions import NEWEST, BrokerVersion

NOTHING = "^$"
"""What an empty expression stands for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicPermission:
    """What routing keys a user may use in one topic exchange."""

    write: str = ""
    read: str = ""

    def pattern(self, action: Action) -> str:
        """Return the expression for an action."""
        return (self.write if action == "write" else self.read) or NOTHING


@dataclass(frozen=True, kw_only=True, slots=True)
class RegexGrant:
    """What a user of the broker's own may do in one virtual host.

    Attributes:
        vhost: The virtual host that the expressions are set for; any other is closed.
        configure: The expression for declaring and deleting.
        write: The expression for publishing, and for binding a queue.
        read: The expression for consuming, and for binding from an exchange.
        topics: Topic permissions by exchange.
        username: Who it is, for `{username}` in topic permissions.
        version: Which broker is asked.
    """

    vhost: str = "/"
    configure: str = ""
    write: str = ""
    read: str = ""
    topics: Mapping[str, TopicPermission] = field(default_factory=dict)
    username: str = ""
    version: BrokerVersion = NEWEST

    def decide(self, check: Check) -> Decision:
        """Answer one check as the broker would."""
        if check.vhost != self.vhost:
            return Decision(False, f"the user has no permissions in virtual host {check.vhost!r}")
        if check.kind == "vhost":
            return Decision(True, f"the user has permissions in virtual host {check.vhost!r}")
        assert check.action is not None  # noqa: S101 - only a virtual host has none
        if check.kind == "topic":
            return self._topic(check, check.action)
        return self._matched(check.action, self.pattern(check.action), broker_name(check))

    def pattern(self, action: Action) -> str:
        """Return the expression for an action."""
        patterns = {"configure": self.configure, "write": self.write, "read": self.read}
        return patterns[action] or NOTHING

    def missing(self, check: Check) -> str:
        """Return the narrowest expression that would allow it."""
        if check.kind == "vhost":
            return f"permissions in virtual host {check.vhost!r}"
        if check.kind == "topic":
            return f"topic permission in {check.name}: {check.action}: {exactly(check.routing_key)}"
        return f"{check.action}: {exactly(broker_name(check))}"

    def hint(self, check: Check) -> str | None:
        """Return nothing: the pattern that refused is named already."""
        return None

    def _topic(self, check: Check, action: Action) -> Decision:
        permission = self.topics.get(check.name)
        if permission is None:
            return Decision(True, f"no topic permission is set for exchange {check.name!r}")
        pattern = permission.pattern(action)
        for name, value in (("username", self.username), ("vhost", check.vhost)):
            if self.version.has("escaped_topic_variables"):
                value = _escaped(value)  # noqa: PLW2901 - the next line needs it
            pattern = pattern.replace(f"{{{name}}}", value)
        return self._matched(f"topic {action}", pattern, check.routing_key)

    def _matched(self, what: str, pattern: str, name: str) -> Decision:
        match = search(pattern, name, self.version)
        if match.problem:
            return Decision(False, f"{what} pattern {pattern!r} denies: {match.problem}", pattern)
        if match.found:
            return Decision(True, f"{what} pattern {pattern!r} matches", pattern)
        return Decision(False, f"{what} pattern {pattern!r} does not match {name!r}", pattern)


def exactly(name: str) -> str:
    """Return the expression that matches this name and nothing else."""
    return f"^{_escaped(name)}$"


_SPECIAL = re.compile(r"([\\^$.|?*+()\[\]{}-])")


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
