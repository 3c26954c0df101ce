"""`manage.py mqauth_doctor`: walks the chain from an alias to the broker, up to where it breaks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser

from django_mqauth.diagnosis import diagnose_alias
from django_mqauth.management.base import MqauthCommand, add_alias, time_limit
from mqauth.cli.printable import printable
from mqauth.diagnosis.findings import Finding, broken, report
from mqauth.diagnosis.walk import TIMEOUT
from mqauth.errors import ConfigurationError


class Command(MqauthCommand):
    """Looks at each link in turn."""

    help = (
        "Walk the chain from an alias' settings to everything that the site's Celery app does on "
        "the broker, and stop at the first link that is broken. Nothing is left behind there. The "
        "exit code tells which link it is, as `mqauth doctor --help` lists them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the alias and the time limit."""
        add_alias(parser)
        super().add_arguments(parser)
        parser.add_argument(
            "--timeout",
            type=time_limit,
            default=TIMEOUT,
            help=f"seconds for each step (default: {TIMEOUT:g})",
        )

    def handle(self, *, alias: str, as_json: bool, timeout: float, **options: Any) -> None:
        """Print the findings; the exit code is that of the broken link."""
        found = []
        for finding in _walk(alias, timeout):
            found.append(finding)
            if not as_json:
                self._show(finding)
        if as_json:
            self.print_json(report(found))
        if found[-1].code:
            sys.exit(found[-1].code)

    def _show(self, finding: Finding) -> None:
        style = self.style.ERROR if finding.code else self.style.SUCCESS
        self.stdout.write(
            f"{style(finding.status.ljust(6))}  {finding.link}: {printable(finding.detail)}"
        )
        if finding.remedy:
            self.stdout.write(f"        {printable(finding.remedy)}")


def _walk(alias: str, timeout: float) -> Iterator[Finding]:
    try:
        yield from diagnose_alias(alias, timeout=timeout)
    except ConfigurationError as error:
        yield broken("options", error)
