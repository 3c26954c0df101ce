"""The least grant that a set of operations needs.

Operations are gathered with the names that they are on; what each needs comes from the table of
`operations`. An element that the others make unnecessary is left out, so that each one that
remains is needed by something.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

from mqauth.permissions.checks import DEFAULT_EXCHANGE, Action, Check, Resource
from mqauth.permissions.name_patterns import NamePattern, named
from mqauth.permissions.operations import Role, known_kind
from mqauth.permissions.scope_grant import ScopeGrant
from mqauth.permissions.wildcards import literal

DEFAULT = named(DEFAULT_EXCHANGE)
"""The exchange without a name, by the name that its permissions are checked under."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """An operation that a program does on names of a family.

    Attributes:
        operation: A row of the table, such as `queue.bind`.
        on: The names, by the role that they play in the row.
        key: Routing keys, where the exchange is a topic exchange; else None.
        why: What for, in a few words.
        vhost: The virtual host, where a program uses several; else empty: the one that is asked
            about.
    """

    operation: str
    on: tuple[tuple[Role, NamePattern], ...]
    key: NamePattern | None = None
    why: str = ""
    vhost: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """One element of a grant.

    Attributes:
        action: What it permits.
        name: On what.
        key: With which routing keys; None where it opens no topics.
        vhost: Where, as in the use that needs it.
        why: What for.
    """

    action: Action
    name: NamePattern
    key: NamePattern | None = None
    vhost: str = ""
    why: tuple[str, ...] = field(default=(), compare=False)

    def scope(self, vhost: str, prefix: str = "") -> str:
        """Return it as a scope; `vhost` is for an element that names none itself."""
        scope = f"{prefix}{self.action}:{literal(self.vhost or vhost)}/{self.name.wildcard}"
        return scope if self.key is None else f"{scope}/{self.key.wildcard}"


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a use looks up, on names of a family."""

    action: Action
    name: NamePattern
    key: NamePattern | None
    resource: Resource
    topic: bool
    vhost: str = ""

    def checks(self, vhost: str) -> tuple[Check, ...]:
        """Return checks on names of the family, to try."""
        keys = self.key.samples if self.key is not None and self.topic else ("",)
        return tuple(
            Check(
                kind="topic" if self.topic else "resource",
                vhost=self.vhost or vhost,
                name=name,
                action=self.action,
                routing_key=key,
                resource=self.resource,
            )
            for name, key in product(self.name.samples, keys)
        )


def needs_of(use: Use) -> tuple[Need, ...]:
    """Return what one use looks up."""
    kind = known_kind(use.operation)
    on = dict(use.on)
    needs = [
        Need(
            need.action,
            on[need.role].mapped(partial(kind.as_taken, need.role)),
            None,
            "queue" if need.role == "queue" else "exchange",
            topic=False,
            vhost=use.vhost,
        )
        for need in kind.needs
    ]
    if kind.topic is not None and use.key is not None:
        source = on["source"] if "source" in on else on["exchange"]
        source = source.mapped(partial(kind.as_taken, "source"))
        needs.append(Need(kind.topic, source, use.key, "exchange", topic=True, vhost=use.vhost))
    return tuple(needs)


def least_scopes(uses: Iterable[Use]) -> tuple[Element, ...]:
    """Return the least elements of scopes that these uses need, each needed by one of them."""
    needs = _with_reasons(uses)
    reasons: dict[Element, list[str]] = {}
    for need, why in needs:
        element = Element(action=need.action, name=need.name, key=need.key, vhost=need.vhost)
        reasons.setdefault(element, []).extend(word for word in why if word)
    elements = sorted(reasons, key=_narrow_first)
    checks = {need: need.checks("/") for need, _ in needs}
    kept = list(elements)
    for element in elements:
        others = [other for other in kept if other != element]
        if _enough(others, [check for found in checks.values() for check in found]):
            kept = others
    return tuple(_explained(element, reasons[element]) for element in sorted(kept, key=_in_order))


def least_expressions(uses: Iterable[Use]) -> tuple[Element, ...]:
    """Return the least elements of regular expressions that these uses need; topics are free."""
    reasons: dict[Element, list[str]] = {}
    names: dict[tuple[Action, str], set[str]] = {}
    for need, why in _with_reasons(uses):
        if need.topic:
            continue
        element = Element(action=need.action, name=need.name, vhost=need.vhost)
        reasons.setdefault(element, []).extend(word for word in why if word)
        names.setdefault(_place(element), set()).update(need.name.samples)
    kept = sorted(reasons, key=_narrow_first)
    for element in tuple(kept):
        others = [o for o in kept if o != element and _place(o) == _place(element)]
        if all(any(o.name.matches(name) for o in others) for name in names[_place(element)]):
            kept.remove(element)
    return tuple(_explained(element, reasons[element]) for element in sorted(kept, key=_in_order))


def element_checks(element: Element, vhost: str) -> tuple[Check, ...]:
    """Return checks that an element allows, on names of its family."""
    topic = element.key is not None
    where = element.vhost
    need = Need(element.action, element.name, element.key, "queue", topic=topic, vhost=where)
    plain = Need(element.action, element.name, None, "queue", topic=False, vhost=where)
    return (*plain.checks(vhost), *(need.checks(vhost) if topic else ()))


def _with_reasons(uses: Iterable[Use]) -> list[tuple[Need, list[str]]]:
    found: dict[Need, list[str]] = {}
    for use in uses:
        for need in needs_of(use):
            why = found.setdefault(need, [])
            if use.why not in why:
                why.append(use.why)
    return list(found.items())


def _enough(elements: Sequence[Element], checks: Iterable[Check]) -> bool:
    grant = ScopeGrant([element.scope("/") for element in elements])
    return all(grant.decide(check).allow for check in checks)


def _narrow_first(element: Element) -> tuple[bool, bool, int, str]:
    """Sort so that what another element may cover comes first."""
    wild = not element.name.exact
    return (element.key is not None, wild, -len(element.name.wildcard), str(element.name))


def _place(element: Element) -> tuple[Action, str]:
    return (element.action, element.vhost)


def _in_order(element: Element) -> tuple[str, int, str, str]:
    order = ("configure", "write", "read").index(element.action)
    return (element.vhost, order, str(element.name), str(element.key or ""))


def _explained(element: Element, why: Sequence[str]) -> Element:
    return replace(element, why=tuple(dict.fromkeys(why)))
