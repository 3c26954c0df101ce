"""The settings of this app itself: `MQAUTH_ADMIN_REFRESH` and the like."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.checks.messages import Place, error, from_error
from django_mqauth.kinds import kind_of
from django_mqauth.workers import memory
from django_mqauth.workers.asking import celery_app

_SECONDS = {
    "ADMIN_REFRESH": (0.5, 60.0),
    "ADMIN_TIMEOUT": (0.2, 10.0),
    "WORKERS_MISSED": (0.0, memory.KEPT),
}


def check_own() -> Iterator[CheckMessage]:
    """Check kind and range of each."""
    for name, (least, most) in _SECONDS.items():
        value = conf.option(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            key = f"{conf.SETTING}_{name}"
            yield error(
                24,
                f"{key} is {value!r}." if number else f"{key} is {kind_of(value)}.",
                f"Give seconds from {least:g} to {most:g}.",
                where=Place(key),
            )
    namespace = conf.option("CELERY_NAMESPACE")
    named = isinstance(namespace, str) and namespace.isidentifier()
    if not named or not namespace.isupper():
        key = f"{conf.SETTING}_CELERY_NAMESPACE"
        why = "is not in capitals, and Django reads no other settings" if named else "is no name"
        yield error(
            25,
            f"{key} {why}.",
            "Give the namespace that app.config_from_object was given, in capitals, such as "
            "CELERY.",
            where=Place(key),
        )
    if conf.option("CELERY_APP") is not None:
        try:
            celery_app()
        except conf.SettingsError as problem:
            yield from_error(30, problem, where=Place(f"{conf.SETTING}_CELERY_APP"))
