"""The chain from an alias to what the site does on its brokers.

What `manage.py mqauth_doctor` shows can be had here as values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_mqauth import conf
from django_mqauth.broker_address import Address
from django_mqauth.optional import has_celery
from django_mqauth.workers.asking import celery_app
from mqauth.diagnosis.findings import EXIT_CODES, Finding, code_of
from mqauth.diagnosis.target import Target
from mqauth.diagnosis.walk import TIMEOUT, diagnose
from mqauth.errors import ConfigurationError


def diagnose_alias(name: str, *, timeout: float = TIMEOUT) -> Iterator[Finding]:
    """Walk the chain from an alias to each of its brokers, up to the first broken link.

    Where the site's Celery app signs in as this alias, everything that its workers and producers
    do is tried too, without being done. Kombu is not needed for any of it.

    Args:
        name: The alias' name in `MQAUTH`.
        timeout: Seconds that one step may take.

    Yields:
        What each link is like; only the last can be a broken one. What leads to the credential is
        told once, however many brokers there are.

    Raises:
        ConfigurationError: There is no such alias, or it or its Celery app cannot work.
    """
    alias = conf.alias(name)
    app = _app_of(alias)
    for number, target in enumerate(_targets(alias)):
        for finding in diagnose(name, target=target, timeout=timeout, **_uses(app, target)):
            if number == 0 or finding.code or _is_the_broker_s(finding):
                yield finding
            if finding.code:
                return


def _targets(alias: conf.Alias) -> Iterator[Target]:
    """Return an alias' brokers; addresses of Kafka are those of one cluster."""
    kafka = [address for address in alias.brokers if address.kafka]
    if kafka:
        servers = tuple((each.host, each.port or each.usual_port) for each in kafka)
        yield replace(
            _target(alias, kafka[0]),
            kind="kafka",
            servers=servers,
            ssl=alias.tls,
            client=alias.transport_options,
        )
    for address in alias.brokers:
        if not address.kafka:
            yield _target(alias, address)


def _target(alias: conf.Alias, address: Address) -> Target:
    return Target(
        host=address.host,
        port=address.port or address.usual_port,
        vhost=address.vhost or "/",
        tls=address.tls,
        user=alias.name,
        ca_file=alias.tls.get("ca_certs"),
    )


def _is_the_broker_s(finding: Finding) -> bool:
    return code_of(finding.link) >= EXIT_CODES["broker"]


def _app_of(alias: conf.Alias) -> Any:
    """Return the site's Celery app if it signs in as this alias, else None."""
    if not has_celery():
        return None
    from celery_mqauth.diagnosis import app_target  # noqa: PLC0415 - optional

    app = celery_app()
    try:
        return app if app_target(app).name == alias.name else None
    except (ConfigurationError, ImproperlyConfigured):
        return None  # it signs in by other means, or not at all


def _uses(app: Any, target: Target) -> dict[str, Any]:
    if app is None:
        return {}
    from celery_mqauth.diagnosis import app_uses  # noqa: PLC0415 - optional

    return app_uses(app, target)
