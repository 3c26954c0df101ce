"""`manage.py mqauth_token`: fetches a credential and tells about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from django_mqauth import conf
from django_mqauth.management.base import MqauthCommand, add_alias
from django_mqauth.sources import derived
from mqauth.config.resolution import resolve
from mqauth.diagnosis.token_facts import facts_of
from mqauth.errors import ConfigurationError
from mqauth.rotation.building import parts
from mqauth.rotation.source import CredentialSource


class Command(MqauthCommand):
    """Tells whose a credential is, for what, and for how long."""

    help = (
        "Fetch an alias' credential and tell whose it is, for what, and for how long. "
        "The token itself is printed with --raw alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the alias, `--fresh` and `--raw`."""
        add_alias(parser)
        super().add_arguments(parser)
        parser.add_argument(
            "--fresh", action="store_true", help="Ask the issuer, whatever this host's cache holds."
        )
        parser.add_argument(
            "--raw",
            action="store_true",
            help="Print the token (or password) itself and nothing else.",
        )

    def handle(self, *, alias: str, as_json: bool, fresh: bool, raw: bool, **options: Any) -> None:
        """Print the facts."""
        found = conf.alias(alias)
        explicit = {"cache": False} if fresh else {}
        config = resolve(alias, explicit=explicit, derived=derived(found))
        source = CredentialSource.from_parts(parts(config))
        try:
            credentials = source.get()
            identity = source.provider.identity
        finally:
            source.close()
        if raw and credentials.certificate is not None:
            raise ConfigurationError(
                f"{alias} signs in by a certificate, so there is no token to print",
                remedy="leave --raw out",
            )
        if raw:
            self.stdout.write(credentials.password.reveal())
            return
        facts = facts_of(credentials, identity)
        if as_json:
            self.print_json(asdict(facts))
        else:
            self.print_facts(facts.for_people())
