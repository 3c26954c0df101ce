"""`mqauth amazonmq`: prepares an Amazon MQ broker for sign-in with IAM."""

from __future__ import annotations

import time
from typing import Any

import click

from mqauth.amazonmq import broker_id_from_host, region_from_host
from mqauth.cli.option_arguments import time_limit_up_to
from mqauth.cli.output import examples, json_option, print_json, progress
from mqauth.config.extras import require


@click.group
def command() -> None:
    """Look after Amazon MQ brokers."""


@command.command(
    short_help="Prepare account and broker for sign-in with IAM.",
    epilog=examples(
        "mqauth amazonmq setup b-1234.mq.eu-west-1.on.aws",
        "mqauth amazonmq setup b-1234.mq.eu-west-1.on.aws --apply",
        'mqauth amazonmq setup b-1234 --region eu-west-1 --scope "rabbitmq/read:prod/*/*" --json',
    ),
)
@click.argument("broker")
@click.option("--region", help="AWS region of the broker; its host name tells it, too.")
@click.option("--profile", help="Profile of the AWS configuration, of an administrator.")
@click.option(
    "--role",
    help="Name of the role that signs in.",
    metavar="NAME",
    default="RabbitMqAdminRole",
    show_default=True,
)
@click.option(
    "--trust",
    "trusted",
    metavar="ARN",
    multiple=True,
    help="Who may assume the role (default: who runs this); may be repeated.",
)
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE",
    multiple=True,
    help="What the role may do on the broker, such as rabbitmq/read:prod/*/*; may be "
    "repeated (default: administrator, and everything on all virtual hosts).",
)
@click.option(
    "--audience", default="rabbitmq", show_default=True, help="Audience that tokens must name."
)
@click.option(
    "--apply/--dry-run",
    "apply",
    default=False,
    help="Whether to make the changes; by default they are only shown.",
)
@click.option("--yes", is_flag=True, help="Do not ask before making them.")
@click.option(
    "--reboot/--no-reboot",
    default=True,
    help="Whether to reboot the broker, which a new configuration needs.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    callback=time_limit_up_to(86400),
    default=1800.0,
    show_default=True,
    help="How long the reboot may take.",
)
@json_option
def setup(
    *,
    broker: str,
    region: str | None,
    profile: str | None,
    role: str,
    trusted: tuple[str, ...],
    scopes: tuple[str, ...],
    audience: str,
    apply: bool,
    yes: bool,
    reboot: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Prepare account and BROKER (its id or host name) for sign-in with IAM.

    Shows what is and what ought to be: outbound web identity federation, a role that may have
    tokens signed, the broker's configuration with the role's scopes, and its association with the
    broker. With --apply it makes the changes that are due, and reboots the broker. Nothing is
    ever deleted; a second run changes nothing.
    """
    if as_json and apply and not yes:
        raise click.UsageError("--json shows nothing to agree to: give --yes with --apply")
    require("boto3")
    from mqauth.amazonmq_setup.account import Account  # noqa: PLC0415 - boto3 takes its time
    from mqauth.amazonmq_setup.procedure import (  # noqa: PLC0415
        DEFAULT_SCOPES,
        Procedure,
        Wanted,
    )

    procedure = Procedure(
        Account(region=region or region_from_host(broker), profile=profile),
        Wanted(
            broker_id=broker_id_from_host(broker) or broker,
            role=role,
            trusted=trusted,
            scopes=scopes or DEFAULT_SCOPES,
            audience=audience,
            reboot=reboot,
            reboot_timeout=timeout,
        ),
    )
    steps = procedure.plan()
    due = [step for step in steps if step.due]
    if not as_json:
        for step in steps:
            _print_step(step)
    done: list[Any] = []
    if apply and due:
        if not yes:
            _confirm(due)
        started = time.monotonic()
        done = list(procedure.apply(progress))
        progress(f"done in {time.monotonic() - started:.0f} s")
    if as_json:
        report = _report(procedure.role_arn, steps, done, applied=apply)
        print_json({**report, "awaits_reboot": procedure.awaits_reboot})
    elif due and not apply:
        click.echo(f"{len(due)} changes are due; --apply makes them")
    elif procedure.awaits_reboot:
        click.echo(
            "nobody can sign in before the broker's next reboot: run this again without "
            f"--no-reboot, or reboot it yourself, then sign in with role_arn = {procedure.role_arn}"
        )
    else:
        click.echo(f"everything is as it ought to be: sign in with role_arn = {procedure.role_arn}")


def _print_step(step: Any) -> None:
    mark = click.style("to do", fg="yellow") if step.due else click.style("ok", fg="green")
    click.echo(f"{mark}  {click.style(step.title, bold=True)}")
    if not step.due:
        return
    for line in step.diff():
        colour = {"+": "green", "-": "red"}.get(line[:1])
        click.echo(f"       {click.style(line, fg=colour)}")
    if step.consequence:
        click.echo(f"       ({step.consequence})")


def _confirm(due: list[Any]) -> None:
    consequences = [step.consequence for step in due if step.consequence]
    also = f"; {', '.join(consequences)}" if consequences else ""
    click.confirm(f"make {len(due)} changes{also}?", abort=True, err=True)


def _report(role_arn: str, steps: list[Any], done: list[Any], *, applied: bool) -> dict[str, Any]:
    return {
        "role_arn": role_arn,
        "applied": applied,
        "due": sum(step.due for step in steps),
        "done": [step.title for step in done],
        "steps": [
            {
                "title": step.title,
                "due": step.due,
                "present": step.present,
                "wanted": step.wanted,
                "diff": step.diff() if step.due else [],
            }
            for step in steps
        ],
    }
