"""The arithmetic of the benchmarks; no measuring here."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median, quantiles
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median and the middle half around it.

    Args:
        median: The median.
        low: The lower quartile.
        high: The upper quartile.
        error: How far the median may be off by chance, in 9 of 10 cases.
        count: How many values.
    """

    median: float
    low: float
    high: float
    error: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of at least two values."""
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(
            median=median(values),
            low=low,
            high=high,
            error=median_error(values),
            count=len(values),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, to four digits."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def median_error(values: Sequence[float]) -> float:
    """Return half the width of the interval that holds the true median in 9 of 10 cases.

    It takes nothing for granted about how the values are distributed: the interval lies between two
    of the values themselves, by the normal approximation of the sign test.
    """
    ordered = sorted(values)
    reach = 1.645 * math.sqrt(len(ordered)) / 2
    first = max(0, math.floor((len(ordered) - 1) / 2 - reach))
    last = min(len(ordered) - 1, math.ceil((len(ordered) - 1) / 2 + reach))
    return (ordered[last] - ordered[first]) / 2


def ratios(rates: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Return rate / baseline of each pair.

    Raises:
        ValueError: There are not as many of one as of the other.
    """
    return [rate / base for rate, base in zip(rates, baseline, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishes:
    """Publishes of one run in order.

    Args:
        times: When each began, as `time.time()` counts.
        milliseconds: How long each took.
    """

    times: Sequence[float]
    milliseconds: Sequence[float]

    def slowest(self, begin: float, end: float) -> float | None:
        """Return the slowest that was under way between two moments, or None if there was none."""
        # One that began before the window may reach into it: it is at most one, the one before.
        first = max(0, bisect_left(self.times, begin) - 1)
        last = bisect_right(self.times, end)
        inside = [
            took
            for start, took in zip(
                self.times[first:last], self.milliseconds[first:last], strict=True
            )
            if start + took / 1000 >= begin
        ]
        return max(inside, default=None)


def windows_around(publishes: Publishes, moments: Sequence[float], *, half: float) -> list[float]:
    """Return the slowest publish within `half` seconds of each moment."""
    found = (publishes.slowest(moment - half, moment + half) for moment in moments)
    return [slowest for slowest in found if slowest is not None]


def windows_between(publishes: Publishes, moments: Sequence[float], *, half: float) -> list[float]:
    """Return the slowest publish of each window of the same length that is far from all moments.

    Windows lie end to end between each two moments, at least four half windows from both: the
    credential is fetched shortly before it is sent.
    """
    slowest: list[float] = []
    for before, after in pairwise(moments):
        room = after - before - 8 * half
        begins = (before + (4 + 2 * number) * half for number in range(int(room / (2 * half))))
        found = (publishes.slowest(begin, begin + 2 * half) for begin in begins)
        slowest += [each for each in found if each is not None]
    return slowest
