"""click's test runner, with standard error apart from standard output in each release of click."""

from __future__ import annotations

from typing import Any

from click.testing import CliRunner


def runner(**options: Any) -> CliRunner:
    """Return a runner that keeps the two apart, as it does unasked from click 8.2 on."""
    try:
        return CliRunner(mix_stderr=False, **options)  # type: ignore[call-arg]
    except TypeError:
        return CliRunner(**options)
