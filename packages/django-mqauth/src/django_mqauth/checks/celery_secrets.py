"""Logins and secrets in Celery's settings, which Django prints and code repositories keep."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping

from django.conf import settings
from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.broker import UnusableURL
from django_mqauth.broker_address import each_url, holds_password
from django_mqauth.checks.messages import Place, error, warning
from django_mqauth.redaction import BROKER_URLS, celery_settings, plain_secrets, secrets_within

OURS = ("mqauth", "mqauths", "mqauth-kafka", "mqauths-kafka")
"""The schemes of the transports that celery-mqauth registers."""
_ALIKE = 0.75
"""How alike to one of ours a scheme is that was meant to be it; `mqtts` is less."""


def broker_urls(*, environment: bool = True) -> Iterator[tuple[str, str]]:
    """Return where Celery finds a broker's URL, and the URL."""
    for key in celery_settings(*BROKER_URLS):
        given = getattr(settings, key)
        for url in given if isinstance(given, list | tuple) else [given]:
            if isinstance(url, str):
                yield key, url
    for name in BROKER_URLS if environment else ():
        if os.environ.get(f"CELERY_{name}"):
            yield f"CELERY_{name} of the environment", os.environ[f"CELERY_{name}"]


def meant_scheme(url: str) -> str | None:
    """Return the scheme of ours that a URL has, or was meant to have by the look of it."""
    scheme = url.strip().partition(":")[0].lower()
    nearest = difflib.get_close_matches(scheme, OURS, n=1, cutoff=_ALIKE)
    if nearest:
        return nearest[0]
    return "mqauths" if scheme.startswith(OURS) else None


def check_passwords() -> Iterator[CheckMessage]:
    """Check for logins in settings; what is read from the environment does not stand in them."""
    said = set(os.environ.values())
    found = [(key, url) for key, url in broker_urls(environment=False) if url not in said]
    for key in [key for key, url in found if _is_foreign_login(url)]:
        yield warning(
            9,
            f"{key} holds a password in plain text.",
            f"Write {key} = django_mqauth.broker_url(), or read it from the environment.",
            where=Place(key),
        )
    for key in celery_settings("BROKER_PASSWORD"):
        password = getattr(settings, key)
        if isinstance(password, str) and password and password not in said:
            yield warning(
                9,
                f"{key} is a password in plain text.",
                f"Take it out and write {key.removesuffix('PASSWORD')}URL = "
                "django_mqauth.broker_url(), or read it from the environment.",
                where=Place(key),
            )


def _is_foreign_login(url: str) -> bool:
    return not isinstance(url, UnusableURL) and any(
        holds_password(part) and meant_scheme(part) is None for part in each_url(url)
    )


def check_auth_options() -> Iterator[CheckMessage]:
    """Check that `auth` of the transport options holds no secret."""
    for key in celery_settings("BROKER_TRANSPORT_OPTIONS"):
        options = getattr(settings, key)
        auth = options.get("auth") if isinstance(options, Mapping) else None
        if not isinstance(auth, Mapping):
            return
        for name in sorted(plain_secrets(auth) | {path[-1] for path in secrets_within(auth)}):
            yield error(
                23,
                f"{key}['auth'][{name!r}] is a secret in plain text.",
                f"Move it to {conf.SETTING}, or name a file with {name}_file.",
                where=Place(key),
            )
