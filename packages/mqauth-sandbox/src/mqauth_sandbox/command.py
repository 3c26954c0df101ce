"""The `mqauth-sandbox` command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from mqauth_sandbox.diagnosis import Finding, diagnose, running_sandboxes
from mqauth_sandbox.errors import NotInstalledError, SandboxError
from mqauth_sandbox.kafka.prepare import prepare_kafka, prepare_kafka_java
from mqauth_sandbox.oidc_provider.prepare import prepare_oidc_provider
from mqauth_sandbox.rabbitmq.installation import Installation
from mqauth_sandbox.rabbitmq.prepare import prepare as prepare_broker
from mqauth_sandbox.tools import TOOLS, prepare_tool

_CHECK_EVERY = 0.5
_LONGEST_LIFETIME = 86400.0
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Ended(BaseException):
    """A signal asks the command to end."""

    def __init__(self, number: int) -> None:
        self.number = number


class _OneLineErrors(click.Group):
    """Shows an error of the sandbox as one line, or as a traceback with --debug."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SandboxError as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(str(error)) from None


def _lifetime(ctx: click.Context, param: click.Parameter, value: float) -> float:
    # Not by click's range, which takes `nan` and `inf`.
    if not 1 <= value <= _LONGEST_LIFETIME:
        raise click.BadParameter(
            f"{value:g} is not from 1 to {_LONGEST_LIFETIME:g} seconds", ctx=ctx, param=param
        )
    return value


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mqauth-sandbox")
@click.option("--debug", is_flag=True, help="Show a traceback when something fails.")
def main(*, debug: bool) -> None:
    """Run a local world for broker credentials: RabbitMQ, Kafka, OIDC issuer, STS endpoint."""


@main.command()
@click.option(
    "--broker",
    default="4",
    show_default=True,
    metavar="WHICH",
    help="3 (the distribution's RabbitMQ), 4, kafka, the path of a rabbitmq-server, or a broker's "
    "URL.",
)
@click.option(
    "--token-lifetime",
    type=float,
    callback=_lifetime,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the OIDC issuer's tokens live.",
)
@click.option(
    "--broker-auth",
    type=click.Choice(["oauth2", "amazonmq"]),
    default="oauth2",
    show_default=True,
    help="Whose tokens the broker takes: the OIDC issuer's, or, as Amazon MQ, the STS endpoint's.",
)
@click.option(
    "--aws-login",
    type=click.Choice(["access-key", "roles-anywhere"]),
    default="access-key",
    show_default=True,
    help="What AWS clients start from: a user's key, or an X.509 certificate.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of exports.")
def up(
    *, broker: str, token_lifetime: float, broker_auth: Any, aws_login: Any, as_json: bool
) -> None:
    """Start everything, print the environment that leads there, and run until Ctrl-C.

    Nothing is left afterwards, not even if the command is killed. Secrets stand in files that only
    you can read; the environment names them.
    """
    if broker == "kafka" and (broker_auth, aws_login) != ("oauth2", "access-key"):
        raise click.UsageError(
            "--broker kafka takes the OIDC issuer's tokens: leave --broker-auth and --aws-login out"
        )
    started = False
    try:
        with _signals_raise():
            if broker == "kafka":
                prepare_kafka(_progress)
            elif broker in ("3", "4"):
                prepare_broker("3" if broker == "3" else "4", _progress)
            _progress(f"starting the sandbox with broker {broker}")
            with _sandbox(broker, token_lifetime, broker_auth, aws_login) as sandbox:
                started = True
                click.echo(_as_json(sandbox) if as_json else _as_exports(sandbox.environment()))
                _progress("the sandbox is up; Ctrl-C ends it")
                _watch(sandbox)
    except _Ended as ended:
        _progress("the sandbox has ended")
        sys.exit(0 if started else 128 + ended.number)


@main.command()
@click.argument(
    "which",
    nargs=-1,
    type=click.Choice(["3", "4", "kafka", "kafka-java", "oidc-provider", *TOOLS]),
)
@click.option("--optional", is_flag=True, help="Go on where something cannot be had, and say so.")
def prepare(*, which: tuple[str, ...], optional: bool) -> None:
    """Install what the brokers (3, 4, kafka) and tools WHICH need and lack; by default broker 4.

    Needs root, or sudo that asks no password, if a package of the distribution is missing.
    """
    for one in which or ("4",):
        try:
            _prepare(one)
        except NotInstalledError as error:
            if not optional:
                raise
            click.echo(f"{one}: {error}", err=True)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, as_json: bool) -> None:
    """Tell what this machine can run, and what to do about the rest.

    Exits with 1 if no broker can run here.
    """
    findings = diagnose()
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings]))
    else:
        for finding in findings:
            click.echo(_line(finding))
    if not any(finding.ok for finding in findings if finding.broker):
        sys.exit(1)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, as_json: bool) -> None:
    """List this user's running sandboxes."""
    running = running_sandboxes()
    if as_json:
        click.echo(json.dumps([{"pid": pid, "directory": str(path)} for pid, path in running]))
        return
    for pid, path in running:
        click.echo(f"process {pid}: {path}")
    if not running:
        click.echo("no sandbox runs")


def _prepare(one: str) -> None:
    if one == "oidc-provider":
        click.echo(f"{one}: {prepare_oidc_provider(_progress)}")
        return
    if one == "kafka":
        kafka = prepare_kafka(_progress)
        click.echo(f"{one}: Apache Kafka {kafka.version} in {kafka.jars}")
        return
    if one == "kafka-java":
        client = prepare_kafka_java(_progress)
        click.echo(f"{one}: Kafka's client {client.version} for Java in {client.jars}")
        return
    for tool in TOOLS:
        if one == tool:
            click.echo(f"{tool}: {prepare_tool(tool, _progress)}")
            return
    installation = prepare_broker("3" if one == "3" else "4", _progress)
    click.echo(f"{one}: RabbitMQ {installation.version} in {_place(installation)}")


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _as_exports(environment: dict[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())


def _sandbox(broker: str, token_lifetime: float, broker_auth: Any, aws_login: Any) -> Any:
    # Both are slow to import, and only needed here.
    if broker == "kafka":
        from mqauth_sandbox.kafka.sandbox import KafkaSandbox  # noqa: PLC0415

        return KafkaSandbox(token_lifetime=token_lifetime)
    from mqauth_sandbox.sandbox import Sandbox  # noqa: PLC0415

    return Sandbox(
        broker=broker, token_lifetime=token_lifetime, broker_auth=broker_auth, aws_login=aws_login
    )


def _as_json(sandbox: Any) -> str:
    return json.dumps({"pid": os.getpid(), "environment": sandbox.environment()})


def _place(installation: Installation) -> str:
    return str(installation.root or installation.sbin.parent)


def _line(finding: Finding) -> str:
    mark = click.style("ok", fg="green") if finding.ok else click.style("--", fg="yellow")
    remedy = f" ({finding.remedy})" if finding.remedy else ""
    return f"{mark}  {finding.what}: {finding.found}{remedy}"


def _watch(sandbox: Any) -> NoReturn:
    """Wait for a signal, and notice when the broker ends by itself."""
    controlled = getattr(sandbox, "controls_broker", True)  # Kafka is always its own
    while not controlled or sandbox.broker.running:
        time.sleep(_CHECK_EVERY)
    raise SandboxError(
        "the broker ended by itself",
        remedy=f"its log says why: {sandbox.broker.log_text()[-300:]}",
    )


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Turn the first signal that asks to end into an exception; later ones change nothing."""

    def end(number: int, _frame: FrameType | None) -> None:
        for each in _ENDING_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise _Ended(number)

    before = {number: signal.signal(number, end) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
