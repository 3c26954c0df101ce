"""The argparse tree, put together from the modules under `credproc.commands`."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Collection
from typing import Any, NoReturn

import credproc.commands
from credproc.errors import UsageError
from credproc.profiles import USUAL_FILE

EPILOG = f"""\
examples:
  credproc --certificate host.pem --private-key host.key \\
      --trust-anchor-arn ARN --profile-arn ARN --role-arn ARN
  credproc onprem                  the entry [profiles.onprem] of the file below
  credproc doctor onprem           why does the service refuse me?

named entries: {USUAL_FILE} (CREDPROC_CONFIG names another file)
"""


class Parser(argparse.ArgumentParser):
    """Reports a mistake as every other error: one line, exit code 2.

    No flag can be abbreviated: a password's would not be known for one, and its value be cached.
    """

    def __init__(self, **named: Any) -> None:
        """Make one that takes flags as they are written alone."""
        super().__init__(**{**named, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        """Raise a usage error instead of printing the usage and leaving."""
        raise UsageError(message, remedy=f"see {self.prog} --help")


def build_parser() -> tuple[argparse.ArgumentParser, Collection[str]]:
    """Return the parser and the names of its commands."""
    parser = Parser(
        prog="credproc",
        description="AWS credentials for an X.509 certificate, through IAM Roles Anywhere.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for module in pkgutil.iter_modules(credproc.commands.__path__):
        importlib.import_module(f"credproc.commands.{module.name}").register(commands)
    return parser, commands.choices.keys()
