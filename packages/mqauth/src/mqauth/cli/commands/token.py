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
from mqauth.config.resolution import resolve
from mqauth.diagnosis.token_facts import facts_of
from mqauth.errors import ConfigurationError
from mqauth.hosts import derived_from_host
from mqauth.rotation.building import parts
from mqauth.rotation.source import CredentialSource


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
    explicit: dict[str, object] = dict(parsed(options))
    refuse_secrets(name, parsed(options))
    if fresh:
        explicit["cache"] = False
    config = resolve(name, explicit=explicit, derived=derived_from_host(host))
    source = CredentialSource.from_parts(parts(config))
    try:
        credentials = source.get()
        identity = source.provider.identity
    finally:
        source.close()
    if raw and credentials.certificate is not None:
        raise ConfigurationError(
            f"{name} signs in by a certificate, so there is no token to print",
            remedy="leave --raw out",
        )
    if raw:
        click.echo(credentials.password.reveal())
        return
    facts = facts_of(credentials, identity)
    if as_json:
        print_json(asdict(facts))
    else:
        print_facts(facts.for_people())
