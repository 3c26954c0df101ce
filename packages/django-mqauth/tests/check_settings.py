"""Settings that are right but for what a test changes, and what `manage.py check` says of them."""

from __future__ import annotations

import io
from typing import Any

import certifi
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from mqauth import Secret

CANARY = "c4n4ry-5ecret"
GOOD_OPTIONS = {
    "issuer": "https://login.example.com/realms/prod",
    "client_id": "celery",
    "client_secret": Secret(CANARY),
}
GOOD = {"BROKER": "amqps://rabbit.example.com/prod", "PROVIDER": "oauth2", "OPTIONS": GOOD_OPTIONS}
CA = certifi.where()
REMOTE_PLAIN = "amqp://rabbit.example.com/prod"


def alias(**changes: Any) -> dict[str, Any]:
    """Return settings with one alias that is right but for the changes; None leaves a key out."""
    entry = {**GOOD, **changes}
    return {"MQAUTH": {"default": {k: v for k, v in entry.items() if v is not None}}}


def options(**changes: Any) -> dict[str, Any]:
    """Return settings whose alias has other options."""
    return alias(OPTIONS={k: v for k, v in {**GOOD_OPTIONS, **changes}.items() if v is not None})


def celery(**settings: Any) -> dict[str, Any]:
    """Return right settings with some of Celery's."""
    return {**alias(), **{f"CELERY_{name}": value for name, value in settings.items()}}


KAFKA = "mqauths-kafka://k.example.com"


def kafka(**changes: Any) -> dict[str, Any]:
    """Return settings with one alias on Kafka."""
    return alias(**{"BROKER": KAFKA, **changes})


def on_kafka(**settings: Any) -> dict[str, Any]:
    """Return Celery's settings with the URL of that alias, but for the changes."""
    given = {"BROKER_URL": "mqauths-kafka://default@k.example.com/", **settings}
    return {f"CELERY_{name}": value for name, value in given.items()}


def check(**options: Any) -> str:
    """Return what `manage.py check` says."""
    output = io.StringIO()
    try:
        call_command("check", stdout=output, stderr=output, **options)
    except SystemCheckError as error:
        output.write(str(error))
    return output.getvalue()
