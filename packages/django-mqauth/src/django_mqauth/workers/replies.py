"""Understands what a worker answers to `inspect mqauth`, whatever it is.

A reply comes over the broker, from a worker of any version: nothing in it is taken on trust.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

LONGEST_TEXT = 500
MOST_SOURCES = 20
MOST_EVENTS = 20
_KINDS = frozenset({"fetched", "renewed", "failed", "expiring"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to a credential."""

    at: str
    kind: str
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceReport:
    """State of one identity in one process, as `mqauth.rotation.status.SourceStatus` tells it."""

    provider: str
    identity: str
    principal: str | None
    issued_at: str | None
    expires_at: str | None
    lifetime: float | None
    remaining: float | None
    rotations: int
    fetches: int
    shared: int
    failures: int
    failures_in_a_row: int
    connections: int
    last_error: str | None
    events: tuple[Event, ...]

    @property
    def expired(self) -> bool:
        """Whether it has run out."""
        return self.remaining is not None and self.remaining <= 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerReport:
    """What is known of one worker.

    Attributes:
        state: `ok`, `failing`, `expired`, `idle` (it consumes nothing), `silent`, `unreadable`, or
            `static` (it signs in without mqauth).
        problem: What is wrong, None where nothing is.
        remedy: What to do about it.
    """

    name: str
    state: str
    sources: tuple[SourceReport, ...] = ()
    queues: tuple[str, ...] | None = None
    problem: str | None = None
    remedy: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to do."""
        return self.state == "ok"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


def understand(name: str, reply: Any) -> WorkerReport:
    """Return what a worker's reply says."""
    if not isinstance(reply, Mapping):
        return _unreadable(name, f"it answered with a {type(reply).__name__}")
    if "error" in reply and "sources" not in reply:
        return _unreadable(name, f"it answered: {_text(reply['error'])}")
    raw = reply.get("sources")
    if not isinstance(raw, list) or not all(isinstance(each, Mapping) for each in raw):
        return _unreadable(name, "its answer has no list of sources")
    recent = reply.get("recent")
    sources = tuple(_source(each, recent) for each in raw[:MOST_SOURCES])
    return _judged(name, sources, _queues(reply.get("queues")))


def source_report(status: Mapping[str, Any], recent: Any = None) -> SourceReport:
    """Return the report of a source of this process."""
    return _source(status, recent)


def _judged(
    name: str, sources: tuple[SourceReport, ...], queues: tuple[str, ...] | None
) -> WorkerReport:
    def report(state: str, problem: str | None = None, remedy: str | None = None) -> WorkerReport:
        return WorkerReport(
            name=name, state=state, sources=sources, queues=queues, problem=problem, remedy=remedy
        )

    if not sources:
        return report(
            "static",
            "it signs in without mqauth",
            "give Celery django_mqauth.broker_url() as its broker_url, and restart the worker",
        )
    for source in sources:
        if source.expired:
            return report(
                "expired",
                f"its credential has run out ({source.last_error or 'no renewal came'})",
                "see the worker's log for why the issuer does not answer",
            )
    if queues == ():
        return report(
            "idle", "it answers and consumes nothing", "add its queue back, or restart the worker"
        )
    for source in sources:
        if source.failures_in_a_row:
            return report(
                "failing",
                f"{source.failures_in_a_row} renewals failed in a row: {source.last_error}",
                "see whether the issuer answers that host; the present credential is still good",
            )
    return report("ok")


def _unreadable(name: str, what: str) -> WorkerReport:
    return WorkerReport(
        name=name,
        state="unreadable",
        problem=f"nothing is known of its credential: {what}",
        remedy="install the same release of celery-mqauth there and restart the worker",
    )


def _source(raw: Mapping[str, Any], recent: Any) -> SourceReport:
    identity = _text(raw.get("identity")) or "unknown"
    issued, expires = _moment(raw.get("issued_at")), _moment(raw.get("expires_at"))
    skew = _number(raw.get("clock_skew")) or 0.0
    events = recent.get(identity) if isinstance(recent, Mapping) else None
    return SourceReport(
        provider=_text(raw.get("provider")) or "unknown",
        identity=identity,
        principal=_text(raw.get("principal")),
        issued_at=issued.isoformat() if issued else None,
        expires_at=expires.isoformat() if expires else None,
        lifetime=(expires - issued).total_seconds() if expires and issued else None,
        remaining=_left(expires, skew) if expires else _number(raw.get("remaining")),
        rotations=_count(raw.get("rotations")),
        fetches=_count(raw.get("fetches")),
        shared=_count(raw.get("shared")),
        failures=_count(raw.get("failures")),
        failures_in_a_row=_count(raw.get("failures_in_a_row")),
        connections=_count(raw.get("connections")),
        last_error=_text(raw.get("last_error")),
        events=_events(events),
    )


def _left(expires: datetime, skew: float) -> float:
    return expires.timestamp() - skew - datetime.now(UTC).timestamp()


def _events(raw: Any) -> tuple[Event, ...]:
    if not isinstance(raw, list):
        return ()
    found = []
    for each in raw[-MOST_EVENTS:]:
        at = _moment(each.get("at")) if isinstance(each, Mapping) else None
        if at is not None and each.get("kind") in _KINDS:
            found.append(
                Event(at=at.isoformat(), kind=each["kind"], error=_text(each.get("error")))
            )
    return tuple(found)


def _queues(raw: Any) -> tuple[str, ...] | None:
    if not isinstance(raw, list):
        return None
    return tuple(text for each in raw if (text := _text(each)))


def _text(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    text = " ".join(value.split())
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
