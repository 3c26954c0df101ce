"""The benchmarks' arithmetic."""

from __future__ import annotations

import pytest

from workloads.figures import (
    Publishes,
    Spread,
    median_error,
    ratios,
    windows_around,
    windows_between,
)

EVERY_MS = Publishes(
    times=[number / 1000 for number in range(4000)],
    milliseconds=[5.0 if number == 1000 else 0.1 for number in range(4000)],
)


def test_ratios_are_taken_pair_by_pair() -> None:
    """Each rate is divided by the baseline of its own round."""
    assert ratios([1.0, 3.0], [2.0, 3.0]) == [0.5, 1.0]
    with pytest.raises(ValueError, match="argument 2"):
        ratios([1.0], [1.0, 2.0])


def test_the_spread_is_the_middle_half() -> None:
    """Median and quartiles of the values."""
    spread = Spread.of([1, 2, 3, 4, 5])
    assert (spread.low, spread.median, spread.high, spread.count) == (2, 3, 4, 5)


def test_the_error_shrinks_with_more_values() -> None:
    """The interval around the median narrows as values are added."""
    values = [0.5 + number / 1000 for number in range(1001)]
    assert median_error(values) == pytest.approx(0.027, abs=0.002)
    assert median_error(values[::100]) > 2 * median_error(values)
    assert median_error([1.0, 1.0, 1.0]) == 0


def test_a_slow_publish_near_a_rotation_is_found() -> None:
    """The slowest publish within the window counts, and only there."""
    assert windows_around(EVERY_MS, [1.02, 3.0], half=0.05) == [5.0, 0.1]


def test_a_publish_that_reaches_into_the_window_counts() -> None:
    """A publish that began before the window and ended in it belongs to it."""
    publishes = Publishes(times=[0.0, 1.0], milliseconds=[960.0, 1.0])
    assert windows_around(publishes, [1.0], half=0.05) == [960.0]


def test_quiet_windows_keep_away_from_rotations() -> None:
    """A publish that is slow because of a rotation is in no quiet window."""
    quiet = windows_between(EVERY_MS, [0.0, 1.0, 2.0, 3.05], half=0.05)
    assert len(quiet) == 5 + 5 + 6
    assert set(quiet) == {0.1}
