"""`manage.py mqauth_doctor`: goes through what leads to the broker and stops where it is broken."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from django_mqauth import conf
from django_mqauth.login import TIMEOUT, sign_in_once
from django_mqauth.management.base import MqauthCommand, add_alias
from django_mqauth.optional import has_kombu
from django_mqauth.sources import derived
from mqauth.config.resolution import resolve
from mqauth.diagnosis.doctor import Finding, findings, report
from mqauth.errors import MQAuthError
from mqauth.links import Link
from mqauth.rotation.building import Parts, parts


class BrokerError(MQAuthError):
    """The broker does not let us in."""

    retryable = True


class Command(MqauthCommand):
    """Looks at each link in turn."""

    help = (
        "Go through what leads to a login at the broker (options, credential and what it stands "
        "on, broker), and stop at the first link that is broken."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the alias."""
        add_alias(parser)
        super().add_arguments(parser)

    def handle(self, *, alias: str, as_json: bool, **options: Any) -> None:
        """Print the findings; the exit code is that of the broken link."""
        found = []
        for finding in findings(lambda: _parts(alias), then=_broker(alias)):
            found.append(finding)
            if not as_json:
                self._show(finding)
        if as_json:
            self.print_json(report(found))
        if found[-1].code:
            sys.exit(found[-1].code)

    def _show(self, finding: Finding) -> None:
        style = self.style.SUCCESS if finding.status == "ok" else self.style.ERROR
        self.stdout.write(f"{style(finding.status.ljust(6))}  {finding.link}: {finding.detail}")
        if finding.remedy:
            self.stdout.write(f"        {finding.remedy}")


def _parts(alias: str) -> Parts:
    found = conf.alias(alias)
    return parts(resolve(alias, explicit={"cache": False}, derived=derived(found)))


def _broker(alias: str) -> list[Link]:
    if not has_kombu():
        return []

    def look(_: float) -> str:
        failure = sign_in_once(alias, TIMEOUT)
        if failure is None:
            return f"signed in at {', '.join(map(str, conf.alias(alias).brokers))}"
        raise BrokerError(failure)

    return [Link(name="broker", look=look)]
