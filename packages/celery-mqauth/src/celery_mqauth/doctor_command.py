"""`celery mqauth doctor`: from an app's configuration to everything that it does on its broker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from celery_mqauth.diagnosis import (
    DEFAULT_ROLES,
    app_target,
    diagnose_app,
    refuse_conf,
)
from celery_mqauth.least.roles import ROLES, WorkerOptions
from celery_mqauth.least.topics import topics_left_out
from celery_mqauth.queue_arguments import (
    queue_names,
    tell,
    tell_what_is_not_counted,
    worker_options,
)
from mqauth.cli.doctor_report import shown
from mqauth.cli.option_arguments import conf_option, time_limit
from mqauth.cli.output import examples, json_option
from mqauth.diagnosis.findings import Finding, broken
from mqauth.diagnosis.walk import TIMEOUT
from mqauth.errors import MQAuthError
from mqauth.permissions.broker_conf import read_conf


@click.command(
    short_help="Find out why the broker refuses this app.",
    epilog=examples(
        "celery -A proj mqauth doctor",
        "celery -A proj mqauth doctor --role worker --role flower --json",
    ),
)
@click.option(
    "roles",
    "--role",
    "-r",
    type=click.Choice(list(ROLES)),
    multiple=True,
    default=DEFAULT_ROLES,
    show_default=True,
    help="Try what this role does; may be repeated.",
)
@worker_options
@conf_option("what it is told about OAuth 2")
@click.option(
    "--timeout",
    callback=time_limit,
    default=TIMEOUT,
    show_default=True,
    help="Seconds for each step.",
)
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    /,
    *,
    roles: tuple[str, ...],
    queues: str | None,
    sent: tuple[str, ...],
    without_gossip: bool,
    without_mingle: bool,
    conf: Path | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Walk the chain from this app's configuration to everything that it does on its broker.

    It stops at the first broken link and says what to do. Nothing is left behind on the broker.
    The exit code tells which link is broken, as `mqauth doctor --help` lists them.
    """

    def walk(started: Callable[[str], object]) -> Iterable[Finding]:
        try:
            if conf:
                refuse_conf(app_target(ctx.obj.app).target)
            yield from diagnose_app(
                ctx.obj.app,
                roles=roles,
                worker=WorkerOptions(gossip=not without_gossip, mingle=not without_mingle),
                queues=queue_names(queues),
                sent=sent,
                servers=read_conf(conf) if conf else (),
                timeout=timeout,
                started=started,
            )
        except MQAuthError as error:
            yield broken("options", error)

    code = shown(walk, as_json=as_json)
    if code == 0:
        # Where a link is broken, that is what is wrong.
        tell_what_is_not_counted(ctx.obj.app, roles)
        if app_target(ctx.obj.app).target.kind == "kafka":
            left = topics_left_out(ctx.obj.app, roles=roles, queues=queue_names(queues), sent=sent)
            tell(left)
    ctx.exit(code)
