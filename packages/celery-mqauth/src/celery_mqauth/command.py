"""The `celery mqauth` command.

Celery loads this module in every run of `celery`, worker and inspect included, which is how
`celery inspect mqauth` becomes known to both.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from celery_mqauth import remote_control

__all__ = ["mqauth", "remote_control"]

_SUBCOMMANDS = {
    "doctor": "celery_mqauth.doctor_command",
    "scopes": "celery_mqauth.scopes_command",
    "status": "celery_mqauth.status_command",
}


class _Commands(click.Group):
    """Loads subcommands when they are asked for: a worker that starts needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        del ctx  # click's signature has it
        return sorted(_SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand by its name."""
        del ctx  # click's signature has it
        if cmd_name not in _SUBCOMMANDS:
            return None
        found: click.Command = getattr(import_module(_SUBCOMMANDS[cmd_name]), cmd_name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; show an error as one line, to programs in JSON too."""
        errors = import_module("celery_mqauth.command_errors")
        with errors.in_one_line(ctx, verbose=bool(ctx.params.get("verbose"))):
            return super().invoke(ctx)


@click.group(cls=_Commands)
@click.option("--verbose", "-v", is_flag=True, help="Show what is logged, on stderr.")
def mqauth(*, verbose: bool) -> None:
    """Look after the broker credentials of an app.

    Example: celery -A proj mqauth status
    """
    del verbose  # looked at where the subcommand is run
