"""`mqauth token`: fetches a credential and tells about it."""

from __future__ import annotations

from dataclasses import asdict

import click

from mqauth.cli.clipboard import Clipboard
from mqauth.cli.option_arguments import (
    name_argument,
    parsed,
    provider_options,
    refuse_secrets,
    the_only_entry,
)
from mqauth.cli.output import examples, fact_lines, json_option, json_text, progress
from mqauth.diagnosis.one_fetch import fetch_once
from mqauth.hosts import derived_from_host


@click.command(
    short_help="Fetch a credential and tell about it.",
    epilog=examples(
        "mqauth token aws-iam --host b-1234.mq.eu-west-1.on.aws",
        'mqauth token oauth2 --option scope="rabbitmq.read:*/*" --json',
        "mqauth token billing --raw | wc -c",
        "mqauth token billing --copy",
    ),
)
@name_argument
@provider_options
@click.option(
    "--host", metavar="HOST", help="The broker's host, which may tell region or instance."
)
@click.option("--fresh", is_flag=True, help="Ask the issuer, whatever this host's cache holds.")
@click.option("--raw", is_flag=True, help="Print the token (or password) itself and nothing else.")
@click.option(
    "--copy", is_flag=True, help="Copy what would be printed to the clipboard, and print it not."
)
@json_option
def command(
    *,
    name: str | None,
    options: tuple[str, ...],
    host: str | None,
    fresh: bool,
    raw: bool,
    copy: bool,
    as_json: bool,
) -> None:
    """Fetch a credential and tell whose it is, for what, and for how long.

    ENTRY is a table of the file that MQAUTH_CONFIG names; it may be left out if there is only
    one. The token itself is printed, or copied, with --raw alone.
    """
    clipboard = Clipboard() if copy else None  # before anything is asked for in vain
    name = name or the_only_entry()
    explicit = parsed(options)
    refuse_secrets(name, explicit)
    fetched = fetch_once(name, explicit=explicit, derived=derived_from_host(host), fresh=fresh)
    if raw:
        text = fetched.token.reveal()
    elif as_json:
        text = json_text(asdict(fetched.facts))
    else:
        text = "\n".join(fact_lines(fetched.facts.for_people()))
    if clipboard is None:
        click.echo(text)
        return
    clipboard.copy(click.unstyle(text))
    progress(f"copied: {'the token itself' if raw else 'what is known of the token'}")
