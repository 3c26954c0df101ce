"""`manage.py mqauth_check`: is all well? For probes, by its exit code."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from django_mqauth import conf
from django_mqauth.login import TIMEOUT, sign_in_once
from django_mqauth.management.base import MqauthCommand, all_aliases, time_limit
from django_mqauth.optional import has_celery, has_kombu
from django_mqauth.sources import shared
from django_mqauth.workers.asking import ask_workers
from mqauth.cli.printable import printable
from mqauth.diagnosis.durations import duration
from mqauth.diagnosis.exit_codes import FAILED, UNAVAILABLE, exit_code
from mqauth.errors import MQAuthError


class Command(MqauthCommand):
    """Fetches, signs in, and asks workers if told to."""

    help = (
        "Check that every alias (or those named) has a credential and may sign in to its broker; "
        "with --workers, that every worker renews and consumes. Exit code 0 if so, else 1 (failed),"
        " 2 (the settings cannot work), 3 (refused) or 4 (no useful answer)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the aliases and what to look at."""
        parser.add_argument("aliases", nargs="*", metavar="alias", help="keys of MQAUTH")
        super().add_arguments(parser)
        parser.add_argument("--workers", action="store_true", help="Ask Celery's workers as well.")
        parser.add_argument(
            "--no-login", action="store_true", help="Fetch credentials, but leave brokers alone."
        )
        parser.add_argument(
            "--timeout",
            type=time_limit,
            default=TIMEOUT,
            help=f"seconds for one login or for all workers (default: {TIMEOUT:g})",
        )

    def handle(
        self,
        *,
        aliases: list[str],
        as_json: bool,
        workers: bool,
        no_login: bool,
        timeout: float,
        **options: Any,
    ) -> None:
        """Print one line for each thing that was looked at."""
        results = []
        for name in aliases or all_aliases():
            results.append(_credential(name))
            if results[-1]["ok"] and not no_login and has_kombu():
                results.append(_login(name, timeout))
        if workers and has_celery():
            results += _workers(timeout)
        code = max((result["code"] for result in results), default=0)
        if as_json:
            self.print_json({"ok": code == 0, "exit_code": code, "checks": results})
        else:
            for result in results:
                self._show(result)
        if code:
            sys.exit(code)

    def _show(self, result: dict[str, Any]) -> None:
        style = self.style.SUCCESS if result["ok"] else self.style.ERROR
        mark = style(("ok" if result["ok"] else "failed").ljust(6))
        said = printable(f"{result['check']} {result['name']}: {result['detail']}")
        self.stdout.write(f"{mark}  {said}")


def _credential(name: str) -> dict[str, Any]:
    try:
        credentials = shared(conf.alias(name)).source.get()
    except MQAuthError as error:
        return _result("credential", name, str(error), code=exit_code(error))
    if credentials.expires_at is None:
        return _result("credential", name, "it never expires")
    return _result("credential", name, f"{duration(credentials.remaining())} left")


def _login(name: str, timeout: float) -> dict[str, Any]:
    failure = sign_in_once(name, timeout)
    if failure is None:
        return _result("login", name, "; ".join(map(str, conf.alias(name).brokers)))
    return _result("login", name, failure, code=UNAVAILABLE)


def _workers(timeout: float) -> list[dict[str, Any]]:
    answers = ask_workers(timeout)
    found = [
        _result(
            "worker",
            worker.name,
            f"{worker.problem} ({worker.remedy})" if worker.problem else "renews and consumes",
            code=0 if worker.healthy else FAILED,
        )
        for worker in answers.workers
    ]
    if answers.problem or not found:
        nobody = "none answered (start one, with remote control on)"
        found.append(_result("worker", "any", answers.problem or nobody, code=UNAVAILABLE))
    return found


def _result(check: str, name: str, detail: str, *, code: int = 0) -> dict[str, Any]:
    return {"check": check, "name": name, "ok": code == 0, "detail": detail, "code": code}
