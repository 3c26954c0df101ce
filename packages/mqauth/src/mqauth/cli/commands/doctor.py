"""`mqauth doctor`: walks the chain from configuration to broker and stops where it is broken."""

from __future__ import annotations

from pathlib import Path

import click

from mqauth.cli.doctor_report import TABLE, shown
from mqauth.cli.option_arguments import (
    complete_name,
    parsed,
    refuse_secrets,
    the_only_entry,
    time_limit,
)
from mqauth.cli.output import examples, json_option
from mqauth.diagnosis.findings import broken
from mqauth.diagnosis.target import Target
from mqauth.diagnosis.walk import TIMEOUT, diagnose
from mqauth.errors import MQAuthError
from mqauth.permissions.broker_conf import read_conf
from mqauth.permissions.questions import parse_question


@click.command(
    short_help="Find out why there is no credential, or why a broker refuses it.",
    epilog=examples(
        "mqauth doctor aws-iam --host b-1234.mq.eu-west-1.on.aws",
        "mqauth doctor billing --json",
        "mqauth doctor --broker mqauths://billing@rabbit.example.com/prod --ca-file ca.pem",
        'mqauth doctor billing --broker amqps://rabbit/prod --operation "declare queue celery"',
    )
    + "\n\n"
    + TABLE,
)
@click.argument("name", metavar="[ENTRY|PROVIDER]", required=False, shell_complete=complete_name)
@click.option(
    "options",
    "--option",
    "-o",
    metavar="NAME=VALUE",
    multiple=True,
    help="An option of the provider or a setting of the source; may be repeated.",
)
@click.option("--host", metavar="HOST", help="The broker's host: some tell region or instance.")
@click.option("--broker", metavar="URL", help="Go on to this broker: mqauths://ENTRY@HOST/VHOST.")
@click.option("--ca-file", metavar="FILE", help="The authorities that sign its certificate.")
@click.option(
    "questions",
    "--operation",
    metavar="WORDS",
    multiple=True,
    help="Try this there, without doing it, as mqauth explain takes it; may be repeated.",
)
@click.option(
    "--conf",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The broker's rabbitmq.conf: what it is told about OAuth 2.",
)
@click.option(
    "--timeout",
    type=float,
    callback=time_limit,
    default=TIMEOUT,
    show_default=True,
    help="For each step.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    name: str | None,
    options: tuple[str, ...],
    host: str | None,
    broker: str | None,
    ca_file: str | None,
    questions: tuple[str, ...],
    conf: Path | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Walk the chain link by link and stop at the first that is broken, with its remedy.

    It begins with the options and ends with the credential, or with --broker at the broker: TCP,
    TLS, login, virtual host, operations, and renewal in place. Everything is asked anew, past the
    host's cache, and nothing is left behind. The exit code tells which link is broken.
    """
    try:
        target = Target.parse(broker, ca_file=ca_file) if broker else None
        name = name or (target.user if target else "") or the_only_entry()
        refuse_secrets(name, parsed(options))
        vhost = target.vhost if target else "/"
        servers = read_conf(conf) if conf else []
        operations = [parse_question(question, vhost=vhost) for question in questions]
    except MQAuthError as error:
        finding = broken("options", error)
        ctx.exit(shown(lambda _: [finding], as_json=as_json))
    ctx.exit(
        shown(
            lambda started: diagnose(
                name,
                options=parsed(options),
                target=target,
                operations=operations,
                servers=servers,
                timeout=timeout,
                host=host,
                started=started,
            ),
            as_json=as_json,
        )
    )
