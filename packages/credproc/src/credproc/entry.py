"""The console entry: answers from the cache if it can, else hands over to `credproc.cli`."""

from __future__ import annotations


def main() -> int:
    """Run the command and return its exit code."""
    from credproc.cli import run  # noqa: PLC0415 - costs ten times the warm path

    return run()
