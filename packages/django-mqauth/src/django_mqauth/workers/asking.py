"""Asks all workers over Celery's remote control, within a time limit that holds."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from django_mqauth import conf
from django_mqauth.login import bounded, explain
from django_mqauth.workers import memory
from django_mqauth.workers.replies import WorkerReport, understand
from mqauth.wording import kind_of

COMMAND = "mqauth"
GRACE = 0.3
"""Seconds of silence after which nobody else is expected, once all who are known have answered."""
_SLACK = 2.0
"""Seconds on top of the wait for replies: to sign in and to look queues up."""
_PATIENCE = 60.0
"""Seconds without a heartbeat for which RabbitMQ, as it comes, keeps a peer that says no less."""


NOT_ON_KAFKA = (
    "workers cannot be asked on Kafka, where Kombu has no remote control: whether they are there, "
    "renew and consume is not known (watch the lag of each <topic>-consumer-group, and each "
    "worker's own log)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What asking brought.

    Attributes:
        workers: One report for each worker that answered or ought to have.
        problem: Why nobody could be asked, or not all answers could be read.
    """

    workers: tuple[WorkerReport, ...] = ()
    problem: str | None = None


def celery_app() -> Any:
    """Return the Celery app of the site: `MQAUTH_CELERY_APP`, else the current one.

    Raises:
        ConfigurationError: The setting leads nowhere, or the app's module fails.
        ImportError: Celery is not installed.
    """
    path = conf.option("CELERY_APP")
    if path is None:
        from celery import current_app  # noqa: PLC0415 - optional

        return current_app
    found = _imported(path) if isinstance(path, str) else path
    try:
        if hasattr(found, "control"):
            return found
    except Exception as error:  # noqa: BLE001 - its configuration may be anybody's code
        failure = type(error).__name__
    else:
        raise _no_app(f"is no Celery app but {kind_of(found)}")
    raise _no_app(
        f"leads to an app whose configuration fails with {failure}",
        remedy="correct it; a look at app.control shows where",
    )


def _imported(path: str) -> Any:
    module, _, name = path.replace(":", ".").rpartition(".")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise _no_app(f"is {path[:60]!r}, which is no path of a module and a name in it")
    try:
        found = import_module(module) if module else None
    except conf.SettingsError:
        raise
    except Exception as error:  # noqa: BLE001 - the module is anybody's code
        failure: Exception = error
    else:
        if hasattr(found, name):
            return getattr(found, name)
        raise _no_app(f"leads nowhere: there is no {name} in {module or 'it'}"[:200])
    missing = getattr(failure, "name", None) if isinstance(failure, ModuleNotFoundError) else None
    if missing and f"{module}.".startswith(f"{missing}."):
        raise _no_app(f"leads nowhere: No module named {missing!r}")
    told = f": No module named {missing!r}" if missing else ""
    raise _no_app(
        f"names the module {module}, which fails with {type(failure).__name__}{told}",
        remedy=f'correct it; manage.py shell -c "import {module}" shows where',
    )


def _no_app(problem: str, *, remedy: str | None = None) -> conf.SettingsError:
    return conf.SettingsError(
        30,
        f"{conf.SETTING}_CELERY_APP {problem}",
        remedy=remedy or 'write the path of the Celery app, such as "proj.celery:app"',
    )


def ask_workers(timeout: float, *, app: Any = None, expected: Collection[str] = ()) -> Answers:
    """Ask every worker for the state of its credentials.

    Args:
        timeout: Seconds to wait for a reply.
        app: The Celery app; by default the site's.
        expected: Workers that have to answer; those that have answered before are expected anyway
            until they sign off.

    Returns:
        What there is to say; never raises for a broker or a worker that misbehaves.
    """
    try:
        asked = app or celery_app()
        connection = asked.connection_for_write(connect_timeout=timeout + _SLACK)
        if str(connection.transport_cls).endswith("kafka"):
            return Answers(problem=NOT_ON_KAFKA)
        with bounded(connection, timeout + _SLACK) as opened:
            return _ask(asked, opened, timeout, expected)
    except Exception as error:  # noqa: BLE001 - Kombu hands transports' errors through
        return Answers(problem=explain(error))


def _ask(app: Any, connection: Any, timeout: float, expected: Collection[str]) -> Answers:
    mailbox = app.control.mailbox(connection)
    channel = connection.default_channel
    remembered = memory.recall()
    awaited = remembered.keys() | set(expected)
    replies, problem = _replies(mailbox, channel, timeout, awaited)
    reports = {name: understand(name, reply) for name, reply in replies.items()}
    lasting = {name: _lasting(app, report) for name, report in reports.items()}
    silent, missed, gone = set(), set(), set()
    for name in sorted(awaited - reports.keys()):
        if _queue_is_there(connection, mailbox.get_queue(name).name):
            silent.add(name)
            reports[name] = _silent(name, timeout)
        elif name in remembered and remembered[name].is_missed():
            missed.add(name)
            reports[name] = _not_there(name, until=conf.option("WORKERS_MISSED"))
        else:
            gone.add(name)
            if name in expected:
                reports[name] = _not_there(name)
    memory.update(replies, gone, silent=silent, missed=missed, lasting=lasting)
    checked = _with_consumers(connection, reports.values())
    return Answers(workers=tuple(sorted(checked, key=lambda each: each.name)), problem=problem)


def _replies(
    mailbox: Any, channel: Any, timeout: float, awaited: Collection[str]
) -> tuple[dict[str, Any], str | None]:
    """Ask, and return what each worker said within `timeout` seconds, and what nobody can read.

    Once all have answered who are known, newcomers get a moment more. Kombu's own way to collect
    replies ends at the first one that it cannot decode.
    """
    from kombu import Consumer, Producer  # noqa: PLC0415 - optional

    found: dict[str, Any] = {}
    unreadable: Counter[str] = Counter()
    ticket = str(uuid.uuid4())

    def take(reply: Any, message: Any) -> None:
        if message.headers.get("ticket", ticket) != ticket:
            return  # to a question from before
        if isinstance(reply, Mapping) and all(isinstance(name, str) for name in reply):
            found.update({name[:255]: answer for name, answer in reply.items()})
        else:
            unreadable[type(reply).__name__] += 1

    def refuse(_: Any, error: Exception) -> None:
        unreadable[type(error).__name__] += 1

    consumer = Consumer(
        channel,
        [mailbox.reply_queue],
        callbacks=[take],
        on_decode_error=refuse,
        accept=mailbox.accept,
        no_ack=True,
    )
    end = time.monotonic() + timeout
    with consumer:
        producer = Producer(channel, auto_declare=False)
        mailbox._publish(  # noqa: SLF001 - Celery's control does the same
            COMMAND, {}, reply_ticket=ticket, channel=channel, timeout=timeout, producer=producer
        )
        while (left := end - time.monotonic()) > 0:
            complete = bool(awaited) and found.keys() >= set(awaited)
            try:
                mailbox.connection.drain_events(timeout=min(left, GRACE) if complete else left)
            except TimeoutError:
                break
    if not unreadable:
        return found, None
    kinds = ", ".join(f"{count} x {kind}" for kind, count in unreadable.items())
    return found, f"answers that name no worker or cannot be read: {kinds}"


def _lasting(app: Any, report: WorkerReport) -> float:
    """Return for how many seconds a worker's connection lasts even if it is frozen from now on.

    The broker ends it with the token, and once it has missed the peer's heartbeats.
    """
    left = [source.remaining for source in report.sources if source.remaining is not None]
    return float(min([_PATIENCE, app.conf.broker_heartbeat or _PATIENCE, *left]))


def _silent(name: str, timeout: float) -> WorkerReport:
    return WorkerReport(
        name=name,
        state="silent",
        problem=f"it does not answer within {timeout:g} s, though the broker keeps its control "
        "queue: it is frozen, or too busy",
        remedy="look at that process; a worker of the pool solo answers between tasks only",
    )


def _not_there(name: str, *, until: float | None = None) -> WorkerReport:
    forgotten = "" if until is None else f"; one that ended for good is named for {until:g} s"
    return WorkerReport(
        name=name,
        state="silent",
        problem="it is not there: the broker has no control queue of it, so that it has ended, or "
        "is frozen and the broker has closed its connection",
        remedy="start it, or where its process is there, look at that, wake or restart it"
        + forgotten,
    )


def _queue_is_there(connection: Any, queue: str) -> bool:
    return _consumers_of(connection, queue) is not None


def _with_consumers(connection: Any, reports: Iterable[WorkerReport]) -> Iterable[WorkerReport]:
    """Return the reports, those of workers whose queues the broker sees without consumers amended.

    A worker may believe that it consumes: what counts is what the broker delivers to.
    """
    found = list(reports)
    claims = Counter(queue for report in found for queue in report.queues or ())
    lacking = {
        queue
        for queue in claims
        if (count := _consumers_of(connection, queue)) is not None and count == 0
    }
    for report in found:
        missing = sorted(lacking.intersection(report.queues or ()))
        if missing and report.state in ("ok", "failing"):
            yield replace(
                report,
                state="idle",
                problem=f"it says that it consumes {', '.join(missing)}, and the broker knows no "
                "consumer there",
                remedy="restart the worker",
            )
        else:
            yield report


def _consumers_of(connection: Any, queue: str) -> int | None:
    """Return how many consumers a queue has, None if there is no such queue.

    A queue that only its owner may touch, or that this user may not look at, counts as there.
    """
    channel = connection.channel()
    try:
        declared = channel.queue_declare(queue=queue, passive=True)
    except connection.channel_errors as error:
        return None if getattr(error, "reply_code", None) == 404 else -1
    channel.close()
    return int(declared.consumer_count)
