"""`mqauth doctor`: walks the chain from configuration to broker and stops where it is broken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from mqauth.cli.doctor_report import TABLE, shown
from mqauth.cli.option_arguments import (
    conf_option,
    name_argument,
    parsed,
    provider_options,
    refuse_secrets,
    the_only_entry,
    time_limit,
)
from mqauth.cli.output import examples, json_option
from mqauth.diagnosis.findings import broken
from mqauth.diagnosis.target import Target, TopicUse
from mqauth.diagnosis.walk import TIMEOUT, diagnose
from mqauth.errors import ConfigurationError, MQAuthError
from mqauth.permissions.broker_conf import read_conf
from mqauth.permissions.operations import Operation
from mqauth.permissions.questions import parse_question


@click.command(
    short_help="Find out why there is no credential, or why a broker refuses it.",
    epilog=examples(
        "mqauth doctor aws-iam --host b-1234.mq.eu-west-1.on.aws",
        "mqauth doctor billing --json",
        "mqauth doctor --broker mqauths://billing@rabbit.example.com/prod --ca-file ca.pem",
        'mqauth doctor billing --broker amqps://rabbit/prod --operation "declare queue celery"',
        "mqauth doctor --broker mqauths-kafka://aws-msk-iam@HOST:9098 --topic celery",
    )
    + "\n\n"
    + TABLE,
)
@name_argument
@provider_options
@click.option("--host", metavar="HOST", help="The broker's host: some tell region or instance.")
@click.option(
    "--broker",
    metavar="URL",
    help="Go on to this broker: mqauths://ENTRY@HOST/VHOST, or mqauths-kafka://ENTRY@HOST.",
)
@click.option("--ca-file", metavar="FILE", help="The authorities that sign its certificate.")
@click.option(
    "questions",
    "--operation",
    metavar="WORDS",
    multiple=True,
    help="Try this there, without doing it, as mqauth explain takes it; may be repeated.",
)
@click.option(
    "named_topics",
    "--topic",
    metavar="[read:|write:]NAME",
    multiple=True,
    help="With Kafka: see whether this topic may be used; may be repeated.",
)
@conf_option("what it is told about OAuth 2")
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
    named_topics: tuple[str, ...],
    conf: Path | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Walk the chain link by link and stop at the first that is broken, with its remedy.

    It begins with the options and ends with the credential, or with --broker at the broker: TCP,
    TLS, login, virtual host, operations, and renewal in place; with Kafka TCP, TLS, login, and each
    topic. Everything is asked anew, past the
    host's cache, and nothing is left behind. The exit code tells which link is broken.
    """
    try:
        target = Target.parse(broker, ca_file=ca_file) if broker else None
        name = name or (target.user if target else "") or the_only_entry()
        refuse_secrets(name, parsed(options))
        topics = [TopicUse.parse(text) for text in named_topics]
        _refuse_what_does_not_fit(target, questions=questions, topics=topics, conf=conf)
        vhost = target.vhost if target else "/"
        servers = read_conf(conf) if conf else []
        operations = [parse_question(question, vhost=vhost) for question in questions]
        _refuse_other_vhosts(operations, vhost)
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
                topics=topics,
                servers=servers,
                timeout=timeout,
                host=host,
                started=started,
            ),
            as_json=as_json,
        )
    )


def _refuse_other_vhosts(operations: Sequence[Operation], vhost: str) -> None:
    for operation in operations:
        if operation.vhost != vhost:
            raise ConfigurationError(
                f"an operation names virtual host {operation.vhost!r}, and the broker's URL "
                f"{vhost!r}",
                remedy="name the virtual host in the URL; each takes a walk of its own",
            )


def _refuse_what_does_not_fit(
    target: Target | None,
    *,
    questions: tuple[str, ...],
    topics: list[TopicUse],
    conf: Path | None,
) -> None:
    kafka = target is not None and target.kind == "kafka"
    if topics and not kafka:
        raise ConfigurationError(
            "only Kafka has topics to be used by name",
            remedy="add --broker mqauths-kafka://ENTRY@HOST, or use --operation",
        )
    if kafka and (questions or conf):
        raise ConfigurationError(
            "--operation and --conf are about RabbitMQ", remedy="use --topic with Kafka"
        )
