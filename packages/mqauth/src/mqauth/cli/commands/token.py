"""`mqauth token`: fetches a credential and tells about it."""

from __future__ import annotations

from dataclasses import asdict

import click

from mqauth.cli.option_arguments import (
    name_argument,
    parsed,
    provider_options,
    refuse_secrets,
    the_only_entry,
)
from mqauth.cli.output import examples, json_option, print_facts, print_json
from mqauth.diagnosis.one_fetch import fetch_once
from mqauth.hosts import derived_from_host


@click.command(
    short_help="Fetch a credential and tell about it.",
    epilog=examples(
        "mqauth token aws-iam --host b-1234.mq.eu-west-1.on.aws",
        'mqauth token oauth2 --option scope="rabbitmq.read:*/*" --json',
        "mqauth token billing --raw | wc -c",
    ),
)
@name_argument
@provider_options
@click.option(
    "--host", metavar="HOST", help="The broker's host, which may tell region or instance."
)
@click.option("--fresh", is_flag=True, help="Ask the issuer, whatever this host's cache holds.")
@click.option("--raw", is_flag=True, help="Print the token (or password) itself and nothing else.")
@json_option
def command(
    *,
    name: str | None,
    options: tuple[str, ...],
    host: str | None,
    fresh: bool,
    raw: bool,
    as_json: bool,
) -> None:
    """Fetch a credential and tell whose it is, for what, and for how long.

    ENTRY is a table of the file that MQAUTH_CONFIG names; it may be left out if there is only
    one. The token itself is printed with --raw alone.
    """
    name = name or the_only_entry()
    explicit = parsed(options)
    refuse_secrets(name, explicit)
    fetched = fetch_once(name, explicit=explicit, derived=derived_from_host(host), fresh=fresh)
    if raw:
        click.echo(fetched.token.reveal())
    elif as_json:
        print_json(asdict(fetched.facts))
    else:
        print_facts(fetched.facts.for_people())
