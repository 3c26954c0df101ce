"""Celery's settings, as far as they concern who signs in to the broker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.broker_address import addresses, holds_password
from django_mqauth.checks.link import check_tls, is_insecure, is_loopback
from django_mqauth.checks.messages import Place, error, from_error, warning
from django_mqauth.optional import has_celery
from django_mqauth.redaction import secret_options
from mqauth.config.named_entries import named_entries
from mqauth.config.options import suggestion
from mqauth.config.registry import provider_names
from mqauth.errors import ConfigurationError
from mqauth.secret import Secret

_URLS = ("BROKER_URL", "BROKER_READ_URL", "BROKER_WRITE_URL")
_OURS = ("mqauth", "mqauths")


def check_celery(aliases: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Check Celery's broker URLs, TLS options and transport options."""
    names = _known_names()
    yield from _check_environment()
    for key, url in _broker_urls():
        for part in url.split(";"):
            scheme = part.partition(":")[0]
            if scheme in _OURS:
                yield from _check_url(Place(key), part, names, aliases)
            else:
                yield from _check_foreign(Place(key), part, aliases)
    yield from _check_auth_options()


def _check_environment() -> Iterator[CheckMessage]:
    for name in _URLS:
        key, variable = f"{conf.option('CELERY_NAMESPACE')}_{name}", f"CELERY_{name}"
        given, said = getattr(settings, key, None), os.environ.get(variable)
        if isinstance(given, str) and given.startswith(_OURS) and said and said != given:
            yield warning(
                8,
                f"{variable} of the environment wins over the setting {key}: Celery does so.",
                f"Unset it, and set {conf.environment_prefix('default')}BROKER to lead elsewhere.",
                where=Place(key),
            )


def _known_names() -> set[str]:
    try:
        return {*provider_names(), *named_entries(os.environ)}
    except ConfigurationError:
        return {*provider_names()}


def _broker_urls() -> Iterator[tuple[str, str]]:
    namespace = conf.option("CELERY_NAMESPACE")
    for name in _URLS:
        key = f"{namespace}_{name}"
        given = getattr(settings, key, None)
        for url in given if isinstance(given, (list, tuple)) else [given]:
            if isinstance(url, str):
                yield key, url
        if os.environ.get(f"CELERY_{name}"):
            yield f"CELERY_{name} of the environment", os.environ[f"CELERY_{name}"]


def _check_url(
    where: Place, url: str, names: set[str], aliases: Mapping[str, Any]
) -> Iterator[CheckMessage]:
    if not has_celery():
        yield error(
            17,
            f"{where} needs celery-mqauth, which is not installed.",
            'pip install "django-mqauth[celery]"',
            where=where,
        )
    if holds_password(url):
        yield error(
            18,
            f"{where} holds a password.",
            "Take it out, wherever the URL has been copied to: the part before @ only names who "
            "signs in.",
            where=where,
        )
        return
    who = unquote(url.partition("://")[2].partition("/")[0].rpartition("@")[0])
    if not who and _says_who():
        return
    if not who:
        yield error(
            19,
            f"{where} does not say who signs in.",
            f"Put an alias of {conf.SETTING} before the host, as in mqauths://default@host/vhost, "
            "or write django_mqauth.broker_url().",
            where=where,
        )
    elif who not in names:
        yield error(
            20,
            f"{where} signs in as {who[:60]!r}, which nobody defined{suggestion(who, names)}.",
            f"Add the alias to {conf.SETTING}, or name one of {', '.join(sorted(names))}.",
            where=where,
        )
    else:
        yield from _check_link(where, url, aliases.get(who))


def _says_who() -> bool:
    options = getattr(settings, f"{conf.option('CELERY_NAMESPACE')}_BROKER_TRANSPORT_OPTIONS", None)
    auth = options.get("auth") if isinstance(options, Mapping) else None
    return isinstance(auth, Mapping) and bool(auth.get("provider"))


def _check_link(where: Place, url: str, entry: Any) -> Iterator[CheckMessage]:
    insecure = isinstance(entry, Mapping) and is_insecure(entry)
    key = f"{conf.option('CELERY_NAMESPACE')}_BROKER_USE_SSL"
    tls = getattr(settings, key, None)
    if isinstance(tls, Mapping):
        yield from check_tls(Place(key), tls, insecure=insecure)
    host = _host(url)
    if url.startswith("mqauth://") and not tls and not insecure and host and not is_loopback(host):
        yield error(
            21,
            f"{where} leads to {host} in clear text.",
            "Write mqauths://: everybody on the way can read a credential.",
            where=where,
        )
    wanted = entry.get("TLS") if isinstance(entry, Mapping) else None
    if wanted and not tls and url.startswith("mqauths://"):
        yield warning(
            6,
            f"{key} is not set, but the alias has TLS options of its own, which Celery ignores.",
            f"Write {key} = django_mqauth.broker_use_ssl().",
            where=where,
        )


def _check_foreign(where: Place, url: str, aliases: Mapping[str, Any]) -> Iterator[CheckMessage]:
    host = _host(url)
    if not host or url.partition(":")[0] not in ("amqp", "amqps", "pyamqp"):
        return
    for name, entry in aliases.items():
        if isinstance(entry, Mapping) and host in _hosts(entry):
            yield warning(
                7,
                f"{where} leads to {host} with a login that never changes.",
                f"Write {where} = django_mqauth.broker_url({name!r}): now nothing of the alias "
                f"{name!r} reaches Celery.",
                where=where,
            )
            return


def _check_auth_options() -> Iterator[CheckMessage]:
    key = f"{conf.option('CELERY_NAMESPACE')}_BROKER_TRANSPORT_OPTIONS"
    options = getattr(settings, key, None)
    auth = options.get("auth") if isinstance(options, Mapping) else None
    if auth is not None and not isinstance(auth, Mapping):
        problem = ConfigurationError(
            f"{key}['auth'] is a {type(auth).__name__}", remedy="write a dict of provider options"
        )
        yield from_error(22, problem, where=Place(key))
    if not isinstance(auth, Mapping):
        return
    secrets = set().union(*(secret_options(name) for name in provider_names()))
    for name in sorted(secrets & auth.keys()):
        if auth[name] and not isinstance(auth[name], Secret):
            yield error(
                23,
                f"{key}['auth'][{name!r}] is a secret in plain text, and Django's diffsettings "
                "prints it.",
                f"Move it to {conf.SETTING}, or name a file with {name}_file.",
                where=Place(key),
            )


def _hosts(entry: Mapping[str, Any]) -> set[str]:
    try:
        return {address.host for address in addresses(entry.get("BROKER"))}
    except ConfigurationError:
        return set()


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
