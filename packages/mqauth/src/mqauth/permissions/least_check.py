"""Compares a credential with the least that is needed: what is missing, what is too much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mqauth.permissions.checks import ACTIONS, Action, Check, Grant
from mqauth.permissions.least import (
    Element,
    Use,
    element_checks,
    least_expressions,
    least_scopes,
    needs_of,
)
from mqauth.permissions.regexes import RegexGrant
from mqauth.permissions.scope_grant import ScopeGrant
from mqauth.permissions.scopes import Scope, parse_scope

_MORE = "mqauth-more"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What a credential has too little and too much of.

    Attributes:
        missing: What has to be added.
        unneeded: Scopes or expressions that could go without anything being refused.
        wider: Scopes or expressions that are needed, but grant more than that.
    """

    missing: tuple[Element, ...]
    unneeded: tuple[str, ...] = ()
    wider: tuple[str, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def compare_scopes(grant: ScopeGrant, uses: Sequence[Use], vhost: str) -> Comparison:
    """Compare the scopes of a token with what these uses need."""
    elements = least_scopes(uses)
    exact = {element.scope(vhost) for element in elements}
    checks = [check for use in uses for need in needs_of(use) for check in need.checks(vhost)]
    left = [s for s in grant.scopes if isinstance(parse_scope(s), Scope)]
    unneeded: list[str] = []
    for scope in sorted(left, key=lambda scope: scope in exact):
        others = [other for other in left if other != scope]
        if _same(grant, others, checks):
            left = others
            unneeded.append(scope)
    return Comparison(
        missing=_missing(grant, elements, vhost),
        unneeded=tuple(grant.prefix + scope for scope in unneeded),
        wider=tuple(grant.prefix + scope for scope in left if scope not in exact),
    )


def compare_expressions(grant: RegexGrant, uses: Sequence[Use], vhost: str) -> Comparison:
    """Compare a user's regular expressions with what these uses need."""
    elements = least_expressions(uses)
    unneeded: list[str] = []
    wider: list[str] = []
    for action in ACTIONS:
        needed = [element for element in elements if element.action == action]
        others = {name for element in elements for name in element.name.samples}
        if any(_permits(grant, action, name, vhost) for name in _beyond(needed, others)):
            (wider if needed else unneeded).append(f"{action}: {grant.pattern(action)}")
    return Comparison(
        missing=_missing(grant, elements, vhost), unneeded=tuple(unneeded), wider=tuple(wider)
    )


def _beyond(needed: Sequence[Element], others: Iterable[str]) -> list[str]:
    """Return names that no element needs, near to those that they do need and far from them."""
    names = [name for element in needed for name in element.name.samples]
    near = [each for name in names for each in (f"{name}{_MORE}", f"{_MORE}{name}")]
    return [
        name
        for name in dict.fromkeys((_MORE, *near, *sorted(others)))
        if not any(element.name.matches(name) for element in needed)
    ]


def _permits(grant: RegexGrant, action: Action, name: str, vhost: str) -> bool:
    check = Check(kind="resource", vhost=vhost, name=name, action=action)
    return grant.decide(check).allow


def _missing(grant: Grant, elements: Iterable[Element], vhost: str) -> tuple[Element, ...]:
    return tuple(
        element
        for element in elements
        if not all(grant.decide(check).allow for check in element_checks(element, vhost))
    )


def _same(grant: ScopeGrant, others: Sequence[str], checks: Iterable[Check]) -> bool:
    less = grant.with_scopes(others)
    return all(less.decide(check).allow for check in checks if grant.decide(check).allow)
