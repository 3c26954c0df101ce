"""Spans of time as people say them."""

from __future__ import annotations

import pytest

from mqauth.durations import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (-59.4, "59 s"),
        (61, "1 min 1 s"),
        (-3_660, "1 h 1 min"),
        (47.5 * 3600, "47 h 30 min"),
        (2 * 86_400, "2 days"),
        (12 * 86_400 + 3 * 3600 + 5, "12 days 3 h"),
        (1_795_377_850, "56 years"),
        (float("inf"), "an endless time"),
        (float("nan"), "an endless time"),
        (10**400, "an endless time"),
    ],
)
def test_a_span(seconds: float, said: str) -> None:
    """No more than two units, and never thousands of seconds."""
    assert duration(seconds) == said
