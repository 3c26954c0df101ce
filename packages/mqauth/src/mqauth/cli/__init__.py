"""The `mqauth` command: `pip install "mqauth[cli]"`, or `python -m mqauth`.

A subcommand is one module in `mqauth.cli.commands` that has a click command called `command`; its
name is the module's. Nothing else has to know about it.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; without click, say how to get it."""
    try:
        from mqauth.cli.root import cli  # noqa: PLC0415 - click is an extra
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit('Error: click is not installed (pip install "mqauth[cli]")')
    cli()
