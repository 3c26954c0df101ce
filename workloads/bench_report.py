"""What the benchmark's figures are held against, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST_RATIO = 0.98
MOST_ADDED_MS = 2.0
HALF_WINDOW = 0.05
"""Seconds before and after a rotation in which publishes count as around it."""


def fast_enough(row: Mapping[str, Any]) -> bool:
    """Return whether publishing keeps up with plain pyamqp, on the clock."""
    return all(row[name]["clock"]["median"] >= LEAST_RATIO for name in ("static", "oauth2"))


def good_enough(result: Mapping[str, Any]) -> bool:
    """Return whether throughput and rotations keep within the promised bounds."""
    return all(fast_enough(row) for row in result["throughput"]) and all(
        row["added_ms"] <= MOST_ADDED_MS for row in result["rotation"]
    )


def report(result: Mapping[str, Any]) -> str:
    """Return the result for people."""
    lines = [f"RabbitMQ {result['broker']}", "", "publish throughput, ratio to plain pyamqp"]
    for row in result["throughput"]:
        lines.append(f"  {row['link']}: plain {row['plain_per_second']} messages/s")
        for name, label in (
            ("static", "mqauth, static provider"),
            ("oauth2", "mqauth, oauth2 provider"),
            ("plain_again", "noise: plain against plain"),
        ):
            lines.append(f"    {label:27} on the clock     {_spread(row[name]['clock'])}")
            lines.append(f"    {'':27} on the processor {_spread(row[name]['processor'])}")
    lines += ["", f"slowest publish within {HALF_WINDOW * 1000:.0f} ms of a rotation"]
    for row in result["rotation"]:
        lines.append(
            f"  {row['link']}: {row['rotations']} rotations add {row['added_ms']:.2f} ms each"
            f" at the median (noise {row['noise_ms']:.2f} ms)"
        )
        lines += [
            f"    with a rotation    {_spread(row['around_ms'])} ms",
            f"    without            {_spread(row['quiet_ms'])} ms",
        ]
    return "\n".join(lines)


def _spread(spread: Mapping[str, float]) -> str:
    return (
        f"{spread['median']:.3f} +-{spread['error']:.3f}"
        f" (middle half {spread['low']:.3f} to {spread['high']:.3f}, n={spread['count']})"
    )
