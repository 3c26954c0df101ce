"""`credproc update`."""

from __future__ import annotations

from credproc.arguments import add_writing_command, session_options
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from credproc.cli import Commands
    from credproc.credentials import SessionCredentials

DESCRIPTION = """\
Write credentials into a profile of the AWS credentials file
(AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials) and renew them five
minutes before they expire. Everything else in the file stays as it is.
"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_writing_command(
        commands,
        "update",
        summary="keep a profile of the AWS credentials file supplied",
        description=DESCRIPTION,
        profile="build",
        file="credentials file",
        switch=("--once", "write once and leave"),
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the profile, once or until stopped."""
    import os
    import threading

    from credproc.asking import with_password
    from credproc.awsfiles.paths import credentials_path
    from credproc.obtain import obtain
    from credproc.telling import tell
    from credproc.termination import leaving_on_signals
    from credproc.update import Updater, write_profile

    options = with_password(session_options(arguments))
    path = credentials_path(os.environ)
    written = threading.Event()

    def write(credentials: SessionCredentials) -> None:
        write_profile(path, arguments.aws_profile, credentials)
        written.set()

    updater = Updater(
        fetch=lambda renew: obtain(options, renew=renew),
        write=write,
        tell=tell,
        stopped=threading.Event(),
    )
    with leaving_on_signals(written.is_set):
        updater.run(once=arguments.once)
    return 0
