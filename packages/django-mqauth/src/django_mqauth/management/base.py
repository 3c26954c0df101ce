"""What the commands have in common: an alias, JSON on demand, exit codes that mean something."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_mqauth import conf
from django_mqauth.defaults import DEFAULT_ALIAS
from django_mqauth.login import explain
from mqauth.cli.printable import printable
from mqauth.diagnosis.exit_codes import USAGE, exit_code
from mqauth.errors import ConfigurationError, MQAuthError

LONGEST = 300.0


class MqauthCommand(BaseCommand):
    """A command whose errors are one line with a remedy, and whose report may be JSON."""

    requires_system_checks: list[str] = []  # noqa: RUF012 - as Django declares it
    """What is wrong is what these commands are for: they say it themselves."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add `--json`."""
        parser.add_argument("--json", action="store_true", dest="as_json", help="Print JSON.")

    def execute(self, *args: Any, **options: Any) -> Any:
        """Run, and show an error of ours as one line, or as JSON where that was asked for."""
        try:
            return super().execute(*args, **options)
        except (MQAuthError, ImproperlyConfigured) as error:
            if options.get("traceback"):
                raise
            problem: Exception = error
        code = exit_code(problem) if isinstance(problem, MQAuthError) else USAGE
        if not options.get("as_json"):
            raise CommandError(explain(problem), returncode=code)
        self.print_json(failure(problem, code))
        sys.exit(code)

    def print_json(self, content: Any) -> None:
        """Print JSON, moments in ISO 8601."""
        self.stdout.write(json.dumps(content, indent=2, default=_plain))

    def progress(self, line: str) -> None:
        """Say what goes on, where it does not mix with a report."""
        self.stderr.write(self.style.HTTP_INFO(line))

    def print_facts(self, facts: Mapping[str, Any]) -> None:
        """Print names and values, one to a line; what is None is left out."""
        shown = {name: value for name, value in facts.items() if value is not None}
        width = max((len(name) for name in shown), default=0)
        for name, value in shown.items():
            lines = [*map(_text, value)] if isinstance(value, list) else [_text(value)]
            self.stdout.write(f"{self.style.MIGRATE_LABEL(name.ljust(width))}  {lines[0]}")
            for line in lines[1:]:
                self.stdout.write(f"{' ' * width}  {line}")


def failure(problem: Exception, code: int) -> dict[str, Any]:
    """Return what JSON says of a command that came to nothing."""
    return {
        "ok": False,
        "exit_code": code,
        "error": getattr(problem, "message", None) or explain(problem),
        "remedy": getattr(problem, "remedy", None),
    }


def time_limit(text: str) -> float:
    """Return the seconds of `--timeout`: more than 0 and at most 300."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= LONGEST:
        raise ArgumentTypeError(f"{text!r} is no number of seconds above 0 and up to {LONGEST:g}")
    return value


def add_alias(parser: CommandParser) -> None:
    """Add the name of an alias."""
    parser.add_argument(
        "alias",
        nargs="?",
        default=DEFAULT_ALIAS,
        help=f"a key of MQAUTH (default: {DEFAULT_ALIAS})",
    )


def all_aliases() -> list[str]:
    """Return the names of all aliases.

    Raises:
        ConfigurationError: There are none, or `MQAUTH` is no dict of aliases.
    """
    names = [str(name) for name in conf.raw_aliases()]
    if not names:
        raise ConfigurationError(
            "MQAUTH has no aliases",
            remedy='add one to the settings: {"default": {"BROKER": "...", "PROVIDER": "..."}}',
        )
    return names


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S UTC")
    return printable(str(value))
