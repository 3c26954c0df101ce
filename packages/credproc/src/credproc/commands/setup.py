"""`credproc setup`."""

from __future__ import annotations

from credproc.arguments import add_writing_command, session_flags
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from credproc.cli import Commands

DESCRIPTION = """\
Write the credential_process line of a profile into the AWS config
(AWS_CONFIG_FILE or ~/.aws/config). A copy of the file is kept beside it, and
nothing else in it changes. Doing it twice does nothing.
"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_writing_command(
        commands,
        "setup",
        summary="write credential_process into the AWS config",
        description=DESCRIPTION,
        profile="onprem",
        file="AWS config",
        switch=("--dry-run", "show the change, make none"),
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the line, or show what would change."""
    import os
    import pkgutil
    import sys

    import credproc.commands
    from credproc.arns import check_target
    from credproc.awsfiles.paths import config_path, credentials_path
    from credproc.options import build
    from credproc.profiles import config_path as own_config
    from credproc.profiles import load_profile
    from credproc.setup_profile import (
        apply,
        command_words,
        plan,
        refuse_moved_entries,
        this_program,
        warnings,
    )
    from credproc.telling import tell

    named = arguments.named
    flags = session_flags(arguments)
    # Without the environment: SDKs may run the command in another one.
    check_target(build(flags, {}, load_profile(named, os.environ) if named else None))
    if named:
        refuse_moved_entries(named, own_config(os.environ))
    modules = pkgutil.iter_modules(credproc.commands.__path__)
    commands = {module.name.replace("_", "-") for module in modules}
    words = command_words(this_program(), named, flags, commands)
    change = plan(config_path(os.environ), arguments.aws_profile, words)
    for warning in warnings(change, credentials_path(os.environ)):
        tell(f"warning: {warning}")
    if change.after == change.before:
        tell(f"{change.path} says so already; nothing to do")
        return 0
    if arguments.dry_run:
        sys.stdout.writelines(f"{line}\n" for line in change.diff())
        return 0
    backup = apply(change)
    kept = f"; the old file is kept as {backup}" if backup else ""
    tell(f"wrote profile {change.profile} to {change.path}{kept}")
    return 0
