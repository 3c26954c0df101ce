"""`manage.py mqauth_check`: is all well? For probes, by its exit code."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Collection
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandParser

from django_mqauth import conf
from django_mqauth.errand import Errand
from django_mqauth.login import TIMEOUT, explain, sign_in, was_refused
from django_mqauth.management.base import MqauthCommand, all_aliases, time_limit
from django_mqauth.optional import has_celery, has_kombu
from django_mqauth.sources import shared
from django_mqauth.workers import memory
from django_mqauth.workers.asking import ask_workers
from mqauth.cli.printable import printable
from mqauth.diagnosis.exit_codes import FAILED, REFUSED, UNAVAILABLE, USAGE, exit_code
from mqauth.durations import duration
from mqauth.errors import ConfigurationError, MQAuthError
from mqauth.wording import counted


class Command(MqauthCommand):
    """Fetches, signs in, and asks workers if told to."""

    help = (
        "Check that every alias (or those named) has a credential and may sign in to its broker; "
        "with --workers, that every worker that answers or was seen before renews and consumes. "
        "Who was seen is known from Django's cache: unless processes share that, a worker that is "
        "silent is missed only by --expect or --at-least. Exit code 0 if so, else 1 (failed),"
        " 2 (the settings cannot work), 3 (refused) or 4 (no useful answer)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the aliases and what to look at."""
        parser.add_argument("aliases", nargs="*", metavar="alias", help="keys of MQAUTH")
        super().add_arguments(parser)
        parser.add_argument("--workers", action="store_true", help="Ask Celery's workers as well.")
        parser.add_argument(
            "--expect",
            type=_names,
            action="extend",
            default=[],
            metavar="WORKER[,WORKER]",
            help="workers that have to answer, such as celery@host; implies --workers",
        )
        parser.add_argument(
            "--at-least",
            type=_number,
            default=0,
            metavar="N",
            help="how many workers have to answer; implies --workers",
        )
        parser.add_argument(
            "--no-login", action="store_true", help="Fetch credentials, but leave brokers alone."
        )
        parser.add_argument(
            "--timeout",
            type=time_limit,
            default=TIMEOUT,
            help=f"seconds for one credential, one login or all workers (default: {TIMEOUT:g})",
        )

    def handle(
        self,
        *,
        aliases: list[str],
        as_json: bool,
        workers: bool,
        expect: list[str],
        at_least: int,
        no_login: bool,
        timeout: float,
        **options: Any,
    ) -> None:
        """Print one line for each thing that was looked at."""
        asks_workers = bool(workers or expect or at_least)
        if asks_workers and not has_celery():
            raise ConfigurationError(
                "mqauth_check cannot ask workers: Celery is not installed",
                remedy='pip install "django-mqauth[celery]"',
            )
        results = []
        for name in aliases or all_aliases():
            results.append(_credential(name, timeout))
            if results[-1]["ok"] and not no_login and has_kombu():
                results.append(_login(name, timeout))
        if asks_workers:
            if not (expect or at_least or memory.known()):
                self.progress(
                    "no worker was seen before: one that is silent is missed only if --expect "
                    "names it, or --at-least counts it"
                )
            results += _workers(timeout, expect, at_least)
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


def _credential(name: str, timeout: float) -> dict[str, Any]:
    try:
        credentials = Errand(shared(conf.alias(name)).source.get).wait(timeout)
    except MQAuthError as error:
        return _result("credential", name, str(error), code=exit_code(error))
    except TimeoutError:
        late = f"no credential within {timeout:g} s (manage.py mqauth_doctor {name} tells why)"
        return _result("credential", name, late, code=UNAVAILABLE)
    if credentials.expires_at is None:
        return _result("credential", name, "it never expires")
    return _result("credential", name, f"{duration(credentials.remaining())} left")


def _login(name: str, timeout: float) -> dict[str, Any]:
    try:
        sign_in(name, timeout)
    except Exception as error:  # noqa: BLE001 - Kombu hands transports' errors through
        return _result("login", name, explain(error), code=_code_of(error))
    return _result("login", name, "; ".join(map(str, conf.alias(name).brokers)))


def _code_of(error: Exception) -> int:
    if was_refused(error):
        return REFUSED
    if isinstance(error, ImproperlyConfigured):
        return USAGE
    return exit_code(error) if isinstance(error, MQAuthError) else UNAVAILABLE


def _workers(timeout: float, expected: Collection[str], at_least: int) -> list[dict[str, Any]]:
    answers = ask_workers(timeout, expected=expected)
    found = [
        _result(
            "worker",
            worker.name,
            f"{worker.problem} ({worker.remedy})" if worker.problem else "renews and consumes",
            code=0 if worker.healthy else FAILED,
        )
        for worker in answers.workers
    ]
    answered = sum(worker.state != "silent" for worker in answers.workers)
    if answers.problem or not found:
        nobody = "none answered (start one, with remote control on)"
        found.append(_result("worker", "any", answers.problem or nobody, code=UNAVAILABLE))
    elif answered < at_least:
        few = f"{counted(answered, 'worker')} answered, at least {at_least} should"
        found.append(_result("worker", "any", few, code=FAILED))
    return found


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ArgumentTypeError(f"{text!r} is no list of workers such as celery@a,celery@b")
    return names


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 6 or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is no number of workers above 0")
    return int(text)


def _result(check: str, name: str, detail: str, *, code: int = 0) -> dict[str, Any]:
    return {"check": check, "name": name, "ok": code == 0, "detail": detail, "code": code}
