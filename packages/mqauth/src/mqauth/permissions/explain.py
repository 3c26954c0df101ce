"""Answers "may this credential do that?", operation by operation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mqauth.permissions.checks import Check, Decision, Grant
from mqauth.permissions.operations import OPERATIONS, Operation, plan
from mqauth.permissions.versions import NEWEST, BrokerVersion


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing that the broker looks up for an operation.

    Attributes:
        needs: What it looks up, in words.
        allow: Whether it allows it.
        because: Why.
        decided_by: The scope or pattern that decided, or None.
        add: What would have to be added; None where nothing has to.
    """

    needs: str
    allow: bool
    because: str
    decided_by: str | None
    add: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What the broker answers to one operation.

    Attributes:
        operation: The AMQP method and its variant.
        words: The operation in words.
        allow: Whether the broker allows it.
        because: Why, in a sentence.
        steps: Everything it looks up for that, in its order, up to the first refusal and beyond.
        note: What was assumed, or None.
    """

    operation: str
    words: str
    allow: bool
    because: str
    steps: tuple[Step, ...]
    note: str | None = None

    @property
    def decided_by(self) -> tuple[str, ...]:
        """The scopes or patterns that decided, each once."""
        wanted = [step for step in self.steps if step.allow is self.allow]
        return tuple(dict.fromkeys(step.decided_by for step in wanted if step.decided_by))

    @property
    def add(self) -> tuple[str, ...]:
        """What would have to be added, no more than that; empty where it is allowed."""
        return without_covered(step.add for step in self.steps if step.add)


def without_covered(added: Iterable[str]) -> tuple[str, ...]:
    """Return scopes without those that others of them make unnecessary, and each once.

    A scope with a routing key permits what it does without one, and any scope opens its virtual
    host. Regular expressions are returned as they are.
    """
    once = tuple(dict.fromkeys(added))
    # The scope that only opens a virtual host has an empty name; so has nothing else.
    return tuple(one for one in once if not any(o != one and _covers(o, one) for o in once))


def _covers(other: str, scope: str) -> bool:
    if scope.endswith("/"):
        vhost = scope.partition(":")[2]
        return other.partition(":")[2].startswith(vhost)
    return other.startswith(f"{scope}/")


def explain(grant: Grant, operation: Operation, version: BrokerVersion = NEWEST) -> Explanation:
    """Tell whether a grant allows an operation, and why.

    Entering the virtual host is looked at too: nobody does anything in one that is closed to him.
    """
    planned = plan(operation, version)
    entering = Check(kind="vhost", vhost=operation.vhost)
    alternatives: list[tuple[Check, ...]] = [(entering,)]
    alternatives += [step for step in planned.steps if step != (entering,)]
    steps = tuple(_step(grant, step) for step in alternatives)
    refused = [step for step in steps if not step.allow]
    allow = not refused and planned.forbidden is None
    return Explanation(
        operation=operation.kind.title,
        words=str(operation),
        allow=allow,
        because=planned.forbidden or _because(steps, refused),
        steps=steps,
        note=_note(operation, planned.assumed_topic, steps),
    )


def explain_all(
    grant: Grant, subject: Operation, version: BrokerVersion = NEWEST
) -> tuple[Explanation, ...]:
    """Explain every operation of the table on the queue and exchange of one operation.

    Args:
        grant: Who wants to do it.
        subject: Names the virtual host, queue, exchange and routing key; its kind does not matter.
        version: Which broker is asked.
    """
    return tuple(explain(grant, operation, version) for operation in operations_on(subject))


def operations_on(subject: Operation) -> Iterable[Operation]:
    """Return every operation of the table, on the names of one."""
    exchange = subject.exchange or subject.source
    for kind in OPERATIONS:
        roles = {need.role for need in kind.needs}
        yield Operation(
            kind=kind,
            vhost=subject.vhost,
            queue=subject.queue,
            exchange=exchange,
            source=exchange if "source" in roles else "",
            destination=(subject.destination or exchange) if "destination" in roles else "",
            alternate=_given(subject.alternate, exchange) if "alternate" in roles else None,
            dead_letter=_given(subject.dead_letter, exchange) if "dead_letter" in roles else None,
            routing_key=subject.routing_key if kind.topic else "",
            topic=subject.topic,
        )


def _given(name: str | None, otherwise: str) -> str:
    return otherwise if name is None else name


def _step(grant: Grant, checks: Sequence[Check]) -> Step:
    first: Decision | None = None
    for check in checks:
        decision = grant.decide(check)
        if decision.allow:
            return _as_step(str(check), decision, None)
        first = first or decision
    assert first is not None  # noqa: S101 - a step has a check
    words = str(checks[0]) if len(checks) == 1 else f"any permission on {checks[0].resource} "
    if len(checks) > 1:
        words += repr(checks[0].name)
        first = Decision(False, f"nothing permits anything on {checks[0].name!r}")
    hint = grant.hint(checks[0])
    if hint is not None:
        first = Decision(False, f"{first.because}; the nearest is {hint}", first.decided_by)
    return _as_step(words, first, grant.missing(checks[0]))


def _as_step(needs: str, decision: Decision, add: str | None) -> Step:
    return Step(
        needs=needs,
        allow=decision.allow,
        because=decision.because,
        decided_by=decision.decided_by,
        add=add,
    )


def _because(steps: Sequence[Step], refused: Sequence[Step]) -> str:
    if refused:
        return refused[0].because
    if len(steps) == 1:
        return steps[0].because
    return "; ".join(dict.fromkeys(step.because for step in steps[1:]))


def _note(operation: Operation, assumed: bool, steps: Sequence[Step]) -> str | None:  # noqa: FBT001
    name = operation.source or operation.exchange
    if assumed:
        return f"exchange {name!r} is taken for a topic exchange"
    if operation.kind.name != "connection.open" and len(steps) == 1:
        return "this needs no permission of its own"
    return None
