"""Counts what a ledger says: what was sent, what finished, what was lost, what ran twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from workloads.ledger import Event, What


@dataclass(slots=True)
class Tally:
    """A running count over the events of one ledger.

    Events may arrive in any order and in any number of portions.

    Args:
        expects_results: Whether a task whose result did not come back counts as lost.
    """

    expects_results: bool = False
    sent: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    results_missing: set[str] = field(default_factory=set)
    starts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    publish_ms: list[float] = field(default_factory=list)
    short_starts: list[float] = field(default_factory=list)
    marks: dict[What, float] = field(default_factory=dict)
    first_sent: float | None = None

    def add(self, events: Iterable[Event]) -> None:
        """Count further events."""
        for event in events:
            self._add(event)

    def _add(self, event: Event) -> None:
        match event.what:
            case What.SENT:
                self.sent.add(event.task_id)
                self.publish_ms.append(event.value)
                self.first_sent = min(self.first_sent or event.time, event.time)
            case What.PUBLISH_ERROR:
                self.errors[event.detail] += 1
            case What.START:
                self.starts[event.task_id] += 1
                if event.kind == "short":
                    self.short_starts.append(event.time)
            case What.END:
                self.ended.add(event.task_id)
            case What.RESULT:
                self.results.add(event.task_id)
            case What.RESULT_MISSING:
                self.results_missing.add(event.task_id)
            case _:
                self.marks[event.what] = event.time

    @property
    def tasks(self) -> int:
        """Tasks whose publishing succeeded, as the producer saw it."""
        return len(self.sent)

    @property
    def done(self) -> int:
        """Of these, the ones that finished."""
        return len(self.sent & self.ended)

    @property
    def running(self) -> int:
        """Tasks that have started and not finished."""
        return len(self.starts.keys() - self.ended)

    @property
    def unfinished(self) -> set[str]:
        """Tasks that were sent and never finished."""
        return self.sent - self.ended

    @property
    def lost(self) -> set[str]:
        """Tasks that were sent and never finished, or whose result never came back as it should."""
        unanswered = self.sent - self.results if self.expects_results else set()
        return self.unfinished | unanswered

    @property
    def repeated(self) -> int:
        """Starts beyond the first, over all tasks."""
        return sum(count - 1 for count in self.starts.values())

    @property
    def most_starts(self) -> int:
        """How often the most repeated task was started."""
        return max(self.starts.values(), default=0)

    @property
    def publish_errors(self) -> int:
        """Publishes that raised."""
        return self.errors.total()

    @property
    def max_publish_ms(self) -> float:
        """The slowest publish after the first, which opens the connection."""
        return max(self.publish_ms[1:], default=0.0)

    def longest_gap_ms(self, begin: float, end: float) -> float:
        """Return the longest time without the start of a short task between two moments.

        Both edges count as starts: a worker that stands still from some moment on has a gap too.
        """
        inside = sorted(start for start in self.short_starts if begin <= start <= end)
        return longest_gap([begin, *inside, end]) * 1000


def longest_gap(moments: Sequence[float]) -> float:
    """Return the longest distance between neighbours of an ascending sequence."""
    return max((b - a for a, b in pairwise(moments)), default=0.0)
