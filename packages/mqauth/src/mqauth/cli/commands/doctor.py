"""`mqauth doctor`: goes through what leads to a credential and stops where it is broken."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import click

from mqauth import amazonmq, amazonmsk
from mqauth.cli.exit_codes import exit_code
from mqauth.cli.option_arguments import complete_name, parsed, refuse_secrets, the_only_entry
from mqauth.cli.output import duration, examples, json_option, print_json, text
from mqauth.config.resolution import resolve
from mqauth.errors import MQAuthError
from mqauth.links import Link, Linked
from mqauth.provider import Provider
from mqauth.rotation.building import Parts, parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one link is like.

    Attributes:
        status: `ok` or `failed`.
        detail: What was found, or what failed and why.
        remedy: What to do about it.
        seconds: How long it took.
        code: What the command exits with if the chain ends here.
    """

    link: str
    status: str
    detail: str
    remedy: str | None = None
    seconds: float
    code: int = 0


@click.command(
    short_help="Find out why there is no credential.",
    epilog=examples(
        "mqauth doctor aws-iam --host b-1234.mq.eu-west-1.on.aws",
        "mqauth doctor billing --json",
    ),
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
@click.option(
    "--host", metavar="HOST", help="The broker's host: that of Amazon MQ or MSK tells the region."
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    name: str | None,
    options: tuple[str, ...],
    host: str | None,
    as_json: bool,
) -> None:
    """Go through what leads to a credential, link by link, and stop at the first that is broken.

    With aws-iam that is the certificate (if an IAM Roles Anywhere identity is named), the AWS
    credentials, the roles and the token. Everything is asked anew, past the host's cache. The exit
    code is that of the broken link.
    """
    findings = []
    for finding in _findings(name, parsed(options), host):
        findings.append(finding)
        if not as_json:
            _show(finding)
    code = findings[-1].code
    if as_json:
        links = [
            {key: value for key, value in asdict(f).items() if key != "code"} for f in findings
        ]
        print_json({"ok": code == 0, "exit_code": code, "links": links})
    ctx.exit(code)


def _findings(name: str | None, options: dict[str, str], host: str | None) -> Iterator[Finding]:
    made: list[Parts] = []

    def build(_: float) -> str:
        made.append(_parts(name or the_only_entry(), options, host))
        return made[0].provider.identity

    yield (finding := _look(Link(name="options", look=build), 0.0))
    if finding.code:
        return
    for link in _links(made[0].provider):
        yield (finding := _look(link, made[0].policy.timeout))
        if finding.code:
            return


def _parts(name: str, options: dict[str, str], host: str | None) -> Parts:
    refuse_secrets(name, options)
    region = amazonmq.region_from_host(host or "") or amazonmsk.region_from_host(host or "")
    explicit = {**options, "cache": False}
    return parts(resolve(name, explicit=explicit, derived={"region": region} if region else {}))


def _links(provider: Provider) -> Sequence[Link]:
    if isinstance(provider, Linked):
        return provider.links()

    def fetch(timeout: float) -> str:
        credentials = provider.fetch(timeout=timeout)
        left = credentials.remaining()
        lasting = "it never expires" if credentials.expires_at is None else f"{duration(left)} left"
        return f"{credentials.principal or credentials.username or 'fetched'}, {lasting}"

    return [Link(name="credential", look=fetch)]


def _look(link: Link, timeout: float) -> Finding:
    started = time.monotonic()
    try:
        detail = link.look(timeout)
    except MQAuthError as error:
        return Finding(
            link=link.name,
            status="failed",
            detail=error.message,
            remedy=error.remedy,
            seconds=_since(started),
            code=exit_code(error),
        )
    return Finding(link=link.name, status="ok", detail=detail, seconds=_since(started))


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _show(finding: Finding) -> None:
    colour = "green" if finding.status == "ok" else "red"
    mark = click.style(finding.status.ljust(6), fg=colour)
    click.echo(f"{mark}  {finding.link}: {text(finding.detail)}")
    if finding.remedy:
        click.echo(f"        {finding.remedy}")
