"""Every worker's rotation state."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable, ServiceWarning

from django_mqauth.health.freshness import PART
from django_mqauth.workers.asking import NOT_ON_KAFKA, Answers, ask_workers
from django_mqauth.workers.replies import SourceReport, WorkerReport
from mqauth.wording import counted

MOST_NAMED = 5


@dataclasses.dataclass
class WorkerCredentials(HealthCheck):
    """Check that every worker answers, renews its credential in time, and consumes.

    A worker that has answered before is missed until it signs off. Where it cannot be told whether
    it did, it is missed for `MQAUTH_WORKERS_MISSED` seconds; those in `workers` always. Who has
    answered before is known from this process and from Django's cache: unless that is shared, a
    new process, such as a probe's, misses nobody but those in `workers`, and only counts by
    `at_least`.

    A worker whose renewals fail is healthy until a quarter of its credential's life is left.

    On Kafka nobody can be asked: the check then warns, rather than to say that all is well. Leave
    it out there.

    Args:
        app: The Celery app; by default `MQAUTH_CELERY_APP`, or the current one.
        workers: Names of workers that have to be there, such as `celery@host`.
        at_least: How many have to answer.
        wait: How long to wait for their replies.
    """

    app: Any = dataclasses.field(default=None, repr=False)
    workers: Sequence[str] = dataclasses.field(default=(), repr=False)
    at_least: int = dataclasses.field(default=1, repr=False)
    wait: dt.timedelta = dataclasses.field(default=dt.timedelta(seconds=2), repr=False)
    answers: Answers = dataclasses.field(default_factory=Answers, repr=False, init=False)

    @property
    def timeout(self) -> dt.timedelta:
        """How long all of it may take."""
        return self.wait + dt.timedelta(seconds=3)

    def run(self) -> None:
        """Ask all workers.

        Raises:
            ServiceUnavailable: Somebody is silent, idle, or about to lose its login.
            ServiceWarning: Nobody can be asked, on Kafka.
        """
        self.answers = ask_workers(
            self.wait.total_seconds(), app=self.app, expected=tuple(self.workers)
        )
        if self.answers.problem == NOT_ON_KAFKA:
            raise ServiceWarning(NOT_ON_KAFKA)
        problems = [text for report in self.answers.workers if (text := _problem(report))]
        answered = sum(report.state != "silent" for report in self.answers.workers)
        if self.answers.problem:
            problems.append(self.answers.problem)
        if answered < self.at_least:
            problems.append(
                f"{counted(answered, 'worker')} answered, at least {self.at_least} should "
                "(start them, with remote control on)"
            )
        if problems:
            more = len(problems) - MOST_NAMED
            rest = [f"and {more} more"] if more > 0 else []
            raise ServiceUnavailable("; ".join(problems[:MOST_NAMED] + rest))


def _problem(report: WorkerReport) -> str | None:
    if report.state == "failing" and all(_lasts(source) for source in report.sources):
        return None
    return None if report.healthy else f"{report.name}: {report.problem} ({report.remedy})"


def _lasts(source: SourceReport) -> bool:
    if source.remaining is None or source.lifetime is None:
        return True
    return source.remaining >= source.lifetime * PART
