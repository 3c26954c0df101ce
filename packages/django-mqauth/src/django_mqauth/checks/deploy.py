"""What matters in production only: `manage.py check --deploy`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.checks.link import is_insecure, is_loopback
from django_mqauth.checks.messages import Place, warning
from django_mqauth.redaction import InlineSecret
from mqauth.config.option_values import parse_bool
from mqauth.config.registry import provider_names


def check_deployment(aliases: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    """Check what is fine on a developer's machine."""
    for name, entry in aliases.items():
        if isinstance(name, str) and isinstance(entry, Mapping):
            yield from _check_alias(name, entry)


def _check_alias(name: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    where = Place(conf.SETTING)[name]
    alias = conf.aliases().get(name)
    if is_insecure(entry):
        yield warning(
            101,
            f"{where} says insecure: its credential may cross the network unprotected.",
            "Use amqps:// with a certificate that is verified, and take insecure out.",
            where=where,
        )
    if alias and any(is_loopback(a.host) for a in alias.brokers):
        yield warning(
            102,
            f"{where['BROKER']} leads to this host.",
            f"Name the broker of production, or set {conf.environment_prefix(name)}BROKER there.",
            where=where["BROKER"],
        )
    if alias and alias.provider in provider_names() and _cache_is_off(alias.options):
        yield warning(
            103,
            f"{where} does not share credentials between processes.",
            "Take cache out of it: each process of a host asks the issuer for itself.",
            where=where,
        )
    if alias and any(isinstance(value, InlineSecret) for value in alias.options.values()):
        yield warning(
            104,
            f"{where} holds a secret in the code that is deployed.",
            "Name a file with <option>_file, or set the environment variable of the option.",
            where=where["OPTIONS"],
        )


def _cache_is_off(options: Mapping[str, Any]) -> bool:
    try:
        return "cache" in options and not parse_bool(options["cache"])
    except ValueError:  # it names a directory
        return False
