"""`credproc credential-process`, and `credproc PROFILE`."""

from __future__ import annotations

import os

from credproc.arguments import add_named_command, add_session_flags, session_options
from credproc.light import TYPE_CHECKING
from credproc.output import print_credentials
from credproc.profiles import config_path

if TYPE_CHECKING:
    import argparse

    from credproc.cli import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_named_command(
        commands,
        "credential-process",
        summary="print credentials as JSON (also without naming the command)",
        description="Print the session's credentials as the JSON that AWS SDKs read.",
    )
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the credentials."""
    config = config_path(os.environ) if arguments.named else None
    return print_credentials(session_options(arguments), config=config)
