"""The group of all subcommands: finds them, and ends each of them with manners."""

from __future__ import annotations

import os
import pkgutil
from importlib import import_module
from typing import Any

import click

from mqauth.cli import commands
from mqauth.cli.log_lines import log_lines
from mqauth.cli.output import examples, print_failure
from mqauth.diagnosis.exit_codes import INTERRUPTED, TABLE
from mqauth.errors import MQAuthError


class Commands(click.Group):
    """Finds the modules of `mqauth.cli.commands`, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand by its name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        found: click.Command = import_module(f"{commands.__name__}.{cmd_name}").command
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; show an error as one line, with --debug as a traceback."""
        debug, verbose = (bool(ctx.params.get(name)) for name in ("debug", "verbose"))
        try:
            with log_lines(verbose=verbose, debug=debug):
                return super().invoke(ctx)
        except MQAuthError as error:
            if debug:
                raise
            ctx.exit(print_failure(ctx, error))
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.group(
    cls=Commands,
    epilog=examples(
        "mqauth providers",
        "mqauth token aws-iam --option region=eu-west-1",
        "mqauth amazonmq setup b-1234.mq.eu-west-1.on.aws",
    )
    + "\n\n"
    + TABLE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="mqauth")
@click.option("--verbose", "-v", is_flag=True, help="Show what is logged, on stderr.")
@click.option("--debug", is_flag=True, help="Show all that is logged, and tracebacks.")
@click.pass_context
def cli(ctx: click.Context, *, verbose: bool, debug: bool) -> None:
    """Look after credentials for message brokers."""
    del verbose, debug  # looked at where the command is run
    if os.environ.get("NO_COLOR"):
        ctx.color = False
