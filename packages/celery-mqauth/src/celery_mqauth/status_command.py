"""`celery mqauth status`: what every worker tells of its credentials."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from celery_mqauth.app_connection import write_connection
from celery_mqauth.command_errors import NO_WORKER
from mqauth.cli.option_arguments import time_limit
from mqauth.cli.output import examples, json_option
from mqauth.diagnosis.target import KAFKA_PORTS
from mqauth.durations import duration
from mqauth.errors import ConfigurationError


@click.command(
    short_help="Show every worker's credentials.",
    epilog=examples(
        "celery -A proj mqauth status",
        "celery -A proj mqauth status --json | jq",
    ),
)
@json_option
@click.option(
    "-t",
    "--timeout",
    callback=time_limit,
    default=2.0,
    show_default=True,
    help="Seconds to wait for workers.",
)
@click.pass_context
def status(ctx: click.Context, *, as_json: bool, timeout: float) -> None:
    """Show every worker's credentials: who signs in, time left, rotations, failures."""
    # Says in one line what is wrong with the URL.
    if write_connection(ctx.obj.app).transport_cls in KAFKA_PORTS:
        raise ConfigurationError(
            "the app's broker is Kafka, where no worker can be asked: it has no remote control",
            remedy="see the workers' logs, or celery mqauth doctor",
        )
    replies = ctx.obj.app.control.inspect(timeout=timeout)._request("mqauth")  # noqa: SLF001
    if as_json:
        click.echo(json.dumps(replies or {}))
    elif replies:
        for worker, reply in sorted(replies.items()):
            for line in _lines(worker, reply):
                click.echo(line)
    if not replies:
        click.echo(
            f"no worker answered within {timeout:g} s (is one running, with remote control on?)",
            err=True,
        )
        ctx.exit(NO_WORKER)


def _lines(worker: str, reply: dict[str, Any]) -> list[str]:
    sources = reply.get("sources")
    if sources is None:
        return [f"{worker}: {reply.get('error', 'no answer')}"]
    return [f"{worker}: {_describe(source)}" for source in sources] or [
        f"{worker}: signs in without mqauth"
    ]


def _describe(source: dict[str, Any]) -> str:
    parts = [source["identity"], _time_left(source)]
    parts += [f"{source[count]} {count}" for count in ("rotations", "fetches", "failures")]
    if source["last_error"]:
        parts.append(f"last error: {source['last_error']}")
    return ", ".join(parts)


def _time_left(source: dict[str, Any]) -> str:
    expires_at = source["expires_at"]
    if source["issued_at"] is None:
        return "no credential"
    if expires_at is None:
        return "never expires"
    left = (datetime.fromisoformat(expires_at) - datetime.now(UTC)).total_seconds()
    return f"expires in {duration(left)}" if left > 0 else f"expired {duration(left)} ago"
