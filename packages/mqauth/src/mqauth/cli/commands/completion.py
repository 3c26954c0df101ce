"""`mqauth completion`: prints what makes a shell complete the command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from mqauth.cli.output import examples

SHELLS = ("bash", "zsh", "fish")


@click.command(
    short_help="Print a script that makes a shell complete.",
    epilog=examples(
        "mqauth completion bash > ~/.local/share/bash-completion/completions/mqauth",
        "mqauth completion fish > ~/.config/fish/completions/mqauth.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, *, shell: str) -> None:
    """Print the script that makes SHELL complete subcommands, options and names."""
    make = get_completion_class(shell)
    assert make is not None  # noqa: S101 - click has all three
    root = ctx.find_root().command
    click.echo(make(root, {}, "mqauth", "_MQAUTH_COMPLETE").source())
