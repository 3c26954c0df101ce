"""`manage.py mqauth_status`: who signs in where, and how every worker's credential fares."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from django_mqauth import conf, defaults
from django_mqauth.management.base import MqauthCommand, all_aliases, time_limit
from django_mqauth.optional import has_celery
from django_mqauth.sources import shared
from django_mqauth.workers.asking import NOT_ON_KAFKA, Answers, ask_workers
from django_mqauth.workers.replies import WorkerReport
from mqauth.cli.printable import printable
from mqauth.diagnosis.exit_codes import UNAVAILABLE, exit_code
from mqauth.durations import duration
from mqauth.errors import MQAuthError
from mqauth.wording import counted


class Command(MqauthCommand):
    """Reports; fetches nothing."""

    help = (
        "Show who signs in where, what the processes of this host share, and every worker's "
        "credential: time left, rotations, failures. Asks no issuer. Exit code 0 if "
        "there is something to say of all that was asked, else 2 (an alias' settings cannot work) "
        "or 4 (no worker could be asked, or none answered). A worker in trouble is told, "
        "and changes no exit code: mqauth_check is the probe."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to wait for."""
        super().add_arguments(parser)
        parser.add_argument("--no-workers", action="store_true", help="Ask no worker.")
        parser.add_argument(
            "--timeout",
            type=time_limit,
            default=defaults.ADMIN_TIMEOUT,
            help=f"seconds to wait for workers (default: {defaults.ADMIN_TIMEOUT:g})",
        )

    def handle(self, *, as_json: bool, no_workers: bool, timeout: float, **options: Any) -> None:
        """Print one line for each alias and worker."""
        aliases = [_alias(name) for name in all_aliases()]
        answers = Answers()
        asked = not no_workers and has_celery()
        if asked:
            self.progress(f"asking workers, {timeout:g} s")
            answers = ask_workers(timeout)
        code = max([alias.pop("code") for alias in aliases])
        if asked and answers.problem != NOT_ON_KAFKA and (answers.problem or not answers.workers):
            code = max(code, UNAVAILABLE)
        if as_json:
            self.print_json(
                {
                    "ok": code == 0,
                    "exit_code": code,
                    "aliases": aliases,
                    "workers": [worker.as_dict() for worker in answers.workers],
                    "problem": answers.problem,
                }
            )
        else:
            self._show(aliases, answers, asked=asked)
        if code:
            sys.exit(code)

    def _show(self, aliases: list[dict[str, Any]], answers: Answers, *, asked: bool) -> None:
        for alias in aliases:
            self.stdout.write(printable(_alias_line(alias)))
        for worker in answers.workers:
            self.stdout.write(printable(_worker_line(worker)))
        if answers.problem:
            self.stdout.write(self.style.ERROR(printable(f"workers: {answers.problem}")))
        elif asked and not answers.workers:
            self.stdout.write("no worker answered (is one running, with remote control on?)")


def _alias(name: str) -> dict[str, Any]:
    report: dict[str, Any] = {
        "alias": name,
        "problem": None,
        "identity": None,
        "brokers": [],
        "code": 0,
    }
    try:
        alias = conf.alias(name)
        source = shared(alias).source
    except MQAuthError as error:
        return {**report, "problem": str(error), "code": exit_code(error)}
    held = source.on_host()
    return {
        **report,
        "brokers": [str(broker) for broker in alias.brokers],
        "provider": source.provider.name,
        "identity": source.provider.identity,
        "shared_on_host": source.shares,
        "remaining": held.remaining() if held and held.expires_at else None,
    }


def _alias_line(alias: dict[str, Any]) -> str:
    if alias["problem"]:
        return f"{alias['alias']}: {alias['problem']}"
    if alias["remaining"] is not None:
        left = f"this host shares a credential with {duration(alias['remaining'])} left"
    elif alias["shared_on_host"]:
        left = "no process of this host has a credential"
    else:
        left = "each process fetches for itself"
    return f"{alias['alias']}: {alias['identity']} at {', '.join(alias['brokers'])}, {left}"


def _worker_line(worker: WorkerReport) -> str:
    parts = [
        f"{source.identity}, "
        + ("never expires" if source.remaining is None else f"{duration(source.remaining)} left")
        + f", {counted(source.rotations, 'rotation')}, {counted(source.failures, 'failure')}"
        for source in worker.sources
    ]
    if worker.problem:
        parts.append(f"{worker.state}: {worker.problem} ({worker.remedy})")
    return f"{worker.name}: {'; '.join(parts)}"
