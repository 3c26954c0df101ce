"""System checks: what is wrong with the settings is said before anybody needs a credential.

Ids `mqauth.E001` and following stop Django, `mqauth.W001` and following do not; from `W101` on they
come with `--deploy` only. `E026` and `E027` come with `--tag mqauth_live` only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register

from django_mqauth import conf
from django_mqauth.checks.celery import check_celery
from django_mqauth.checks.deploy import check_deployment
from django_mqauth.checks.link import check_broker, is_insecure, leads_to_kafka
from django_mqauth.checks.live import TAG, check_live, was_asked_for
from django_mqauth.checks.messages import Place
from django_mqauth.checks.own import check_own
from django_mqauth.checks.provider import check_provider
from django_mqauth.checks.shape import (
    check_alias,
    check_name,
    check_setting,
    check_spelling,
    is_well_shaped,
)
from django_mqauth.checks.tls import check_tls
from django_mqauth.checks.transport_options import check_transport_options
from mqauth.errors import ConfigurationError

TAG_SETTINGS = "mqauth"


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check everything that can be checked without asking anybody."""
    setting = getattr(settings, conf.SETTING, {})
    found = [*check_setting(setting), *check_spelling(), *check_name(), *check_own()]
    if not found or all(message.id != "mqauth.E001" for message in found):
        found += itertools.chain.from_iterable(
            _check(name, entry) for name, entry in _aliases().items()
        )
        if not any(message.id == "mqauth.E025" for message in found):
            found += check_celery(_aliases())
    return found


def check_settings_for_deployment(**_: Any) -> list[CheckMessage]:
    """Check what matters in production."""
    return list(check_deployment(_aliases()))


def check_brokers(**_: Any) -> list[CheckMessage]:
    """Sign in, if asked to."""
    return list(check_live()) if was_asked_for() else []


def register_all() -> None:
    """Make the checks known to Django; harmless when repeated."""
    register(check_settings, TAG_SETTINGS)
    register(check_settings_for_deployment, TAG_SETTINGS, Tags.security, deploy=True)
    register(check_brokers, TAG)


def _check(name: Any, entry: Any) -> Iterator[CheckMessage]:
    yield from check_alias(name, entry)
    if not is_well_shaped(entry):
        return
    yield from check_broker(str(name), entry)
    yield from check_provider(str(name), entry)
    yield from check_transport_options(str(name), entry)
    if entry.get("TLS"):
        where = Place(conf.SETTING)[name]["TLS"]
        yield from check_tls(
            where, entry["TLS"], insecure=is_insecure(entry), kafka=leads_to_kafka(entry)
        )


def _aliases() -> Any:
    try:
        return conf.raw_aliases()
    except ConfigurationError:
        return {}
