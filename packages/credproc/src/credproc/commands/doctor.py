"""`credproc doctor`."""

from __future__ import annotations

from credproc.arguments import add_named_command, add_session_flags, session_options
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from credproc.cli import Commands
    from credproc.diagnosis.walk import Outcome

DESCRIPTION = """\
Walk from the certificate to the SDK, one link after the other, and stop at
the first that is broken. One real session is opened; nothing secret is shown.
"""

EPILOG = """\
The exit code is the broken link's: 2 options and ARNs, 3 certificate and key, 4 refused by the
service, 5 not reached, 6 bad answer, 7 aws_signing_helper; 0 if all hold, warnings included.

examples:
  credproc doctor onprem
  credproc doctor onprem --json
"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_named_command(
        commands,
        "doctor",
        summary="find out why there are no credentials",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the report and return the broken link's exit code."""
    import sys

    from credproc.diagnosis.report import Display, to_json

    if arguments.json:
        outcomes = list(_outcomes(arguments, lambda _: None))
        code = outcomes[-1].exit_code
        sys.stdout.write(to_json([each.finding for each in outcomes], code) + "\n")
        return code
    display = Display(sys.stdout)
    code = 0
    for outcome in _outcomes(arguments, display.begin):
        display.show(outcome.finding)
        code = outcome.exit_code
    return code


def _outcomes(arguments: argparse.Namespace, begin: Callable[[str], None]) -> Iterator[Outcome]:
    """Yield the findings; options that cannot be put together are the link before all others."""
    from credproc.diagnosis.walk import failed, walk
    from credproc.errors import CredprocError

    try:
        options = session_options(arguments)
    except CredprocError as error:
        yield failed("options", error, 0.0)
        return
    yield from walk(options, begin)
