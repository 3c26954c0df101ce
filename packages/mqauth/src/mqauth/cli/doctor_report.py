"""How a walk along the chain is shown, whichever command began it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from operator import itemgetter

import click

from mqauth.cli.output import print_json
from mqauth.cli.tables import wrapped
from mqauth.diagnosis.findings import EXIT_CODES, KAFKA_EXIT_CODES, Finding, report

_INDENT = " " * 8

TABLE = "\b\nExit codes, by the link that is broken:\n  " + "\n  ".join(
    f"{code:<4} {link}{' (Kafka)' * (link in KAFKA_EXIT_CODES)}"
    for link, code in sorted({**EXIT_CODES, **KAFKA_EXIT_CODES}.items(), key=itemgetter(1))
)


def shown(walk: Callable[[Callable[[str], object]], Iterable[Finding]], *, as_json: bool) -> int:
    """Show what each link is like as it is found; return the exit code.

    Args:
        walk: Begins the walk, given what to call with the name of each link before it is looked at.
        as_json: Print one JSON object at the end instead.
    """
    findings = []
    for finding in walk(_begin if not as_json else str):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        print_json(report(findings))
    return findings[-1].code


def _begin(link: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"…       {link}\r", nl=False, err=True)


def _show(finding: Finding) -> None:
    colour = "green" if finding.status == "ok" else "red"
    mark = click.style(finding.status.ljust(6), fg=colour)
    click.echo(f"{mark}  {wrapped(f'{finding.link}: {finding.detail}', _INDENT)}")
    if finding.remedy:
        click.echo(f"{_INDENT}{wrapped(finding.remedy, _INDENT)}")
