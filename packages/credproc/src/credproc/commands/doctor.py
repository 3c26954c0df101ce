"""`credproc doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credproc.arguments import add_session_flags, session_options

if TYPE_CHECKING:
    import argparse

    from credproc.cli import Commands

EPILOG = """\
The exit code is the broken link's: 2 options and ARNs, 3 certificate and key, 4 refused by the
service, 5 not reached, 6 bad answer, 7 aws_signing_helper; 0 if all hold, warnings included.

examples:
  credproc doctor onprem
  credproc doctor onprem --json
"""


def register(commands: Commands) -> None:
    """Add the command."""
    import argparse  # noqa: PLC0415

    parser = commands.add_parser(
        "doctor",
        help="find out why there are no credentials",
        description="Walk from the certificate to the SDK, one link after the other, and stop at "
        "the first that is broken. One real session is opened; nothing secret is shown.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("named", nargs="?", metavar="PROFILE", help="an entry of credproc.toml")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the report and return the broken link's exit code."""
    import sys  # noqa: PLC0415

    from credproc.diagnosis.report import Display, to_json  # noqa: PLC0415
    from credproc.diagnosis.walk import walk  # noqa: PLC0415

    options = session_options(arguments)
    if arguments.json:
        outcomes = list(walk(options))
        code = outcomes[-1].exit_code
        sys.stdout.write(to_json([each.finding for each in outcomes], code) + "\n")
        return code
    display = Display(sys.stdout)
    code = 0
    for outcome in walk(options, display.begin):
        display.show(outcome.finding)
        code = outcome.exit_code
    return code
