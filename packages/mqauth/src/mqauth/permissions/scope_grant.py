"""Scopes as a grant: which of them allows what."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mqauth.permissions.checks import DEFAULT_EXCHANGE, Check, Decision, broker_name
from mqauth.permissions.expansion import expand
from mqauth.permissions.scopes import IgnoredScope, Scope, TagScope, parse_scope, scope_for
from mqauth.permissions.versions import NEWEST, BrokerVersion

_NONE: Mapping[str, Any] = {}
_SIMILAR = 0.6


class ScopeGrant:
    """What a token with these scopes may do.

    Args:
        scopes: The scopes that the broker has left, prefix taken off (see `token_scopes`).
        claims: The token's claims, for `{claim}` in scopes.
        version: Which broker is asked.
        prefix: What the broker wants in front of scopes; `missing` writes it.
    """

    __slots__ = ("_claims", "_variables", "prefix", "scopes", "version")

    def __init__(
        self,
        scopes: Sequence[str],
        *,
        claims: Mapping[str, Any] = _NONE,
        version: BrokerVersion = NEWEST,
        prefix: str = "",
    ) -> None:
        """Keep the scopes; each is read when it is needed."""
        self.scopes = tuple(scopes)
        self.prefix = prefix
        self.version = version
        self._claims = claims
        self._variables = "{" in "".join(self.scopes) and version.has("variables")

    def with_scopes(self, scopes: Sequence[str]) -> ScopeGrant:
        """Return the same with other scopes."""
        return ScopeGrant(scopes, claims=self._claims, version=self.version, prefix=self.prefix)

    def decide(self, check: Check) -> Decision:
        """Answer one check as the broker would."""
        kind, vhost, name, action, key, resource = check
        wanted = "" if kind == "vhost" else action or ""
        if not name and resource == "exchange":
            name = DEFAULT_EXCHANGE
        for text in self._expanded(vhost):
            # Most scopes are about something else, and reading one takes longer than this.
            if not text.startswith(wanted):
                continue
            scope = parse_scope(text)
            if type(scope) is not Scope:
                continue
            if kind == "vhost" or action is None:
                allow = kind != "resource" and scope.opens(vhost)
            elif kind == "topic":
                allow = scope.permits_topic(vhost, name, action, key)
            else:
                allow = scope.permits(vhost, name, action)
            if allow:
                whole = self.prefix + text
                return Decision(True, f"scope {whole} allows it", whole)
        return Decision(False, self._refusal(check))

    def missing(self, check: Check) -> str:
        """Return the narrowest scope that would allow it, prefix included."""
        if check.kind == "vhost" or check.action is None:
            # Any permission on anything opens a virtual host; this one is on nothing.
            return f"{self.prefix}{scope_for('read', check.vhost, '')}"
        key = check.routing_key if check.kind == "topic" else None
        return f"{self.prefix}{scope_for(check.action, check.vhost, broker_name(check), key)}"

    def permissions(self, vhost: str) -> tuple[Scope, ...]:
        """Return the scopes that grant something, variables filled in for a virtual host."""
        read = map(parse_scope, self._expanded(vhost))
        return tuple(scope for scope in read if isinstance(scope, Scope))

    def tags(self) -> tuple[str, ...]:
        """Return the tags that the scopes give."""
        read = map(parse_scope, self.scopes)
        return tuple(sorted({scope.tag for scope in read if isinstance(scope, TagScope)}))

    def ignored(self, vhost: str) -> tuple[tuple[str, str], ...]:
        """Return the scopes that the broker passes over, as they came, each with the reason."""
        read = zip(self.scopes, map(parse_scope, self._expanded(vhost)), strict=True)
        return tuple(
            (self.prefix + text, scope.reason)
            for text, scope in read
            if isinstance(scope, IgnoredScope)
        )

    def hint(self, check: Check) -> str | None:
        """Return the scope that comes nearest to allowing a check, if one comes near."""
        wanted = self.missing(check)[len(self.prefix) :]
        same = [
            scope.text for scope in self.permissions(check.vhost) if scope.action == check.action
        ]
        near = difflib.get_close_matches(wanted, same[:256], 1, _SIMILAR)
        return self.prefix + near[0] if near else None

    def _expanded(self, vhost: str) -> Sequence[str] | Iterator[str]:
        if not self._variables:
            return self.scopes
        return (expand(scope, self._claims, vhost) for scope in self.scopes)

    def _refusal(self, check: Check) -> str:
        if check.kind == "vhost":
            return f"no scope opens virtual host {check.vhost!r}"
        if check.kind == "topic" and self._opens_no_topic(check):
            return (
                f"only a scope of two segments allows {check.action} on exchange {check.name!r}, "
                "and it opens no topics"
            )
        return f"no scope allows to {check}"

    def _opens_no_topic(self, check: Check) -> bool:
        if check.action is None:
            return False
        name = broker_name(check)
        for text in self._expanded(check.vhost):
            if text.startswith(check.action):
                scope = parse_scope(text)
                if type(scope) is Scope and scope.permits(check.vhost, name, check.action):
                    return scope.routing_key is None
        return False
