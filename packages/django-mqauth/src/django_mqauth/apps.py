"""What Django does with the app: checks, signals, and settings that change in tests."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed

from django_mqauth import conf
from django_mqauth.redaction import redact_settings
from django_mqauth.sources import forget_aliases
from mqauth import events
from mqauth.history import history
from mqauth.shared import forget_shared_sources


class MqauthConfig(AppConfig):
    """The app `django_mqauth`, known to the admin as `mqauth`."""

    name = "django_mqauth"
    label = "mqauth"
    verbose_name = "Broker credentials"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register what Django calls."""
        from django_mqauth import checks, signals  # noqa: PLC0415 - the settings are there

        redact_settings()
        checks.register_all()
        history.start()
        setting_changed.connect(_changed, dispatch_uid="django_mqauth")
        if signals.forward not in _forwarded:
            _forwarded.append(signals.forward)
            events.subscribe(signals.forward)


_forwarded: list[Any] = []


def _changed(*, setting: str, **_: Any) -> None:
    """Begin anew where a test overrides a setting."""
    redact_settings()
    if setting != conf.SETTING and not setting.startswith(f"{conf.SETTING}_"):
        return
    from django_mqauth.kombu_connections import connections  # noqa: PLC0415 - the same

    forget_aliases()
    connections.close_all()
    forget_shared_sources()
