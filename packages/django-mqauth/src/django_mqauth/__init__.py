"""Django and message brokers whose credentials live minutes.

INSTALLED_APPS = [..., "django_mqauth"]
MQAUTH = {"default": {"BROKER": "amqps://rabbit.example.com/prod", "PROVIDER": "oauth2"}}
CELERY_BROKER_URL = django_mqauth.broker_url()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_mqauth.broker import broker_url, broker_use_ssl
    from django_mqauth.kombu_connections import connections
    from django_mqauth.signals import credential_failed, credential_renewed
    from django_mqauth.sources import source

__all__ = [
    "broker_url",
    "broker_use_ssl",
    "connections",
    "credential_failed",
    "credential_renewed",
    "source",
]

_MODULES = {
    "broker_url": "broker",
    "broker_use_ssl": "broker",
    "connections": "kombu_connections",
    "credential_failed": "signals",
    "credential_renewed": "signals",
    "source": "sources",
}


def __getattr__(name: str) -> Any:
    # Any program that looks a named entry up imports this package, and few of them need Django.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
