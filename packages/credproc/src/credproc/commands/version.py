"""`credproc version`."""

from __future__ import annotations

import sys

from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from credproc.cli import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("version", help="print the version")
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print the version of this distribution."""
    from importlib.metadata import version  # takes 80 ms

    sys.stdout.write(version("credproc") + "\n")
    return 0
