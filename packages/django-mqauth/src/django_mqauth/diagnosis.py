"""The chain from an alias to what the site does on its brokers.

What `manage.py mqauth_doctor` shows can be had here as values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_mqauth import conf
from django_mqauth.broker_address import Address
from django_mqauth.optional import has_celery
from django_mqauth.workers.asking import celery_app
from mqauth.diagnosis.findings import EXIT_CODES, Finding
from mqauth.diagnosis.target import Target
from mqauth.diagnosis.walk import TIMEOUT, diagnose
from mqauth.errors import ConfigurationError
from mqauth.permissions.operations import Operation


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
    for number, address in enumerate(alias.brokers):
        target = _target(alias, address)
        operations = _operations(app, target.vhost)
        for finding in diagnose(name, target=target, operations=operations, timeout=timeout):
            if number == 0 or finding.code or _is_the_broker_s(finding):
                yield finding
            if finding.code:
                return


def _target(alias: conf.Alias, address: Address) -> Target:
    return Target(
        host=address.host,
        port=address.port or (5671 if address.tls else 5672),
        vhost=address.vhost or "/",
        tls=address.tls,
        user=alias.name,
        ca_file=alias.tls.get("ca_certs"),
    )


def _is_the_broker_s(finding: Finding) -> bool:
    return EXIT_CODES.get(finding.link, 0) >= EXIT_CODES["broker"]


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


def _operations(app: Any, vhost: str) -> Sequence[Operation]:
    if app is None:
        return ()
    from celery_mqauth.diagnosis import app_operations  # noqa: PLC0415 - optional

    return app_operations(app, vhost)
