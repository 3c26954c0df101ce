"""`manage.py mqauth_token`: fetches a credential and tells about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from django_mqauth import conf
from django_mqauth.management.base import MqauthCommand, add_alias
from django_mqauth.sources import derived
from mqauth.diagnosis.one_fetch import fetch_once


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
        fetched = fetch_once(alias, derived=derived(conf.alias(alias)), fresh=fresh)
        if raw:
            self.stdout.write(fetched.token.reveal())
        elif as_json:
            self.print_json(asdict(fetched.facts))
        else:
            self.print_facts(fetched.facts.for_people())
