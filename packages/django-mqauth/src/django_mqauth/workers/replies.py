"""Understands what a worker answers to `inspect mqauth`, whatever it is.

A reply comes over the broker, from a worker of any version: nothing in it is taken on trust. What
the verdict rests on has to be there and of its kind, or else the reply is unreadable; of the past
events, which are shown and judged by nobody, those that cannot be read are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from mqauth.wording import counted, kind_of

LONGEST_TEXT = 500
MOST_SOURCES = 20
MOST_EVENTS = 20
LARGEST = 10**12
"""Larger than any count or number of seconds that means something."""
LONGEST_QUEUE = 255
_NEEDED = (
    "provider",
    "identity",
    "issued_at",
    "expires_at",
    "remaining",
    "rotations",
    "failures",
    "failures_in_a_row",
)
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


class _OddError(ValueError):
    """A field of a reply that is missing, or of another kind than it should be."""


def understand(name: str, reply: Any) -> WorkerReport:
    """Return what a worker's reply says."""
    if not isinstance(reply, Mapping):
        return _unreadable(name, f"it answered with {kind_of(reply)}")
    if "error" in reply and "sources" not in reply:
        said = _text(reply["error"]) or f"an error that is {kind_of(reply['error'])}"
        return _unreadable(name, f"it answered: {said}")
    raw = reply.get("sources")
    if not isinstance(raw, list) or not all(isinstance(each, Mapping) for each in raw):
        return _unreadable(name, "its answer has no list of sources")
    recent = reply.get("recent")
    try:
        sources = tuple(_source(each, recent) for each in raw)
        queues = _queues(reply.get("queues"))
    except _OddError as odd:
        return _unreadable(name, f"in its answer {odd}")
    return _judged(name, sources, queues)


def source_report(status: Mapping[str, Any], recent: Any = None) -> SourceReport:
    """Return the report of a source of this process."""
    return _source(status, recent)


def _judged(
    name: str, sources: tuple[SourceReport, ...], queues: tuple[str, ...] | None
) -> WorkerReport:
    def report(state: str, problem: str | None = None, remedy: str | None = None) -> WorkerReport:
        return WorkerReport(
            name=name,
            state=state,
            sources=sources[:MOST_SOURCES],
            queues=queues,
            problem=problem,
            remedy=remedy,
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
                f"{counted(source.failures_in_a_row, 'renewal')} failed in a row: "
                f"{source.last_error or 'why is not known'}",
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
    for field in _NEEDED:
        if field not in raw:
            raise _OddError(f"a source has no {field}")
    identity = _name(raw, "identity")
    issued, expires = _moment_of(raw, "issued_at"), _moment_of(raw, "expires_at")
    skew, left = _seconds_of(raw, "clock_skew") or 0.0, _seconds_of(raw, "remaining")
    events = recent.get(identity) if isinstance(recent, Mapping) else None
    return SourceReport(
        provider=_name(raw, "provider"),
        identity=identity,
        principal=_text_of(raw, "principal"),
        issued_at=issued.isoformat() if issued else None,
        expires_at=expires.isoformat() if expires else None,
        lifetime=(expires - issued).total_seconds() if expires and issued else None,
        remaining=_left(expires, skew) if expires else left,
        rotations=_count(raw, "rotations"),
        fetches=_count(raw, "fetches"),
        shared=_count(raw, "shared"),
        failures=_count(raw, "failures"),
        failures_in_a_row=_count(raw, "failures_in_a_row"),
        connections=_count(raw, "connections"),
        last_error=_text_of(raw, "last_error"),
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
    if raw is None:
        return None
    if not isinstance(raw, list):
        raise _OddError(f"queues is no list but {kind_of(raw)}")
    for each in raw:
        if not isinstance(each, str) or not 0 < len(each.encode(errors="replace")) <= LONGEST_QUEUE:
            raise _OddError(f"a queue's name is no name but {kind_of(each)}")
    return tuple(raw)


def _name(raw: Mapping[str, Any], field: str) -> str:
    text = _text(raw[field])
    if text is None:
        raise _odd(field, "text", raw[field])
    return text


def _text_of(raw: Mapping[str, Any], field: str) -> str | None:
    value = raw.get(field)
    if value is not None and not isinstance(value, str):
        raise _odd(field, "text", value)
    return _text(value)


def _moment_of(raw: Mapping[str, Any], field: str) -> datetime | None:
    value = raw[field]
    moment = _moment(value)
    if moment is None and value is not None:
        raise _odd(field, "moment", value)
    return moment


def _seconds_of(raw: Mapping[str, Any], field: str) -> float | None:
    value = raw.get(field)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not -LARGEST <= value <= LARGEST:  # which NaN is not either
        raise _odd(field, "number of seconds", value)
    return float(value)


def _count(raw: Mapping[str, Any], field: str) -> int:
    value = raw.get(field, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise _odd(field, "count", value)
    return value


def _odd(field: str, wanted: str, value: object) -> _OddError:
    return _OddError(f"{field} is no {wanted} but {kind_of(value)}{_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, int | float) and not -LARGEST <= value <= LARGEST:
        return " out of all bounds"
    return f" ({value})" if isinstance(value, int | float) else ""


def _text(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    text = " ".join(value.split())
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
