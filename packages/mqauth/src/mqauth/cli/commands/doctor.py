"""`mqauth doctor`: goes through what leads to a credential and stops where it is broken."""

from __future__ import annotations

import click

from mqauth.amazonmq import region_from_host
from mqauth.cli.option_arguments import complete_name, parsed, refuse_secrets, the_only_entry
from mqauth.cli.output import examples, json_option, print_json, text
from mqauth.config.resolution import resolve
from mqauth.diagnosis.doctor import Finding, findings, report
from mqauth.rotation.building import Parts, parts


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
@click.option("--host", metavar="HOST", help="The broker's host: Amazon MQ's tells the region.")
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
    found = []
    for finding in findings(lambda: _parts(name or the_only_entry(), parsed(options), host)):
        found.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        print_json(report(found))
    ctx.exit(found[-1].code)


def _parts(name: str, options: dict[str, str], host: str | None) -> Parts:
    refuse_secrets(name, options)
    region = region_from_host(host) if host else None
    explicit = {**options, "cache": False}
    return parts(resolve(name, explicit=explicit, derived={"region": region} if region else {}))


def _show(finding: Finding) -> None:
    colour = "green" if finding.status == "ok" else "red"
    mark = click.style(finding.status.ljust(6), fg=colour)
    click.echo(f"{mark}  {finding.link}: {text(finding.detail)}")
    if finding.remedy:
        click.echo(f"        {finding.remedy}")
