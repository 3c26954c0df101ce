"""Celery's settings, as far as they concern who signs in to the broker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.broker import BrokerURL, UnusableURL
from django_mqauth.broker_address import addresses, holds_password, parts
from django_mqauth.checks.celery_secrets import (
    OURS,
    broker_urls,
    check_auth_options,
    check_passwords,
)
from django_mqauth.checks.link import check_tls, is_insecure, is_loopback
from django_mqauth.checks.messages import Place, error, listed, warning
from django_mqauth.optional import has_celery
from django_mqauth.redaction import BROKER_URLS
from mqauth.config.named_entries import named_entries
from mqauth.config.options import suggestion
from mqauth.config.registry import provider_names
from mqauth.errors import ConfigurationError


def check_celery(aliases: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Check Celery's broker URLs, TLS options and transport options."""
    names = _known_names()
    yield from _check_environment()
    for key, url in broker_urls():
        if isinstance(url, UnusableURL):
            yield from _check_unusable(Place(key), url, aliases)
            continue
        if isinstance(url, BrokerURL):
            yield from _check_agreement(Place(key), url)
        for part in parts(url):
            scheme = part.strip().partition(":")[0]
            if scheme in OURS:
                yield from _check_url(Place(key), part.strip(), names, aliases)
            else:
                yield from _check_foreign(Place(key), part.strip(), aliases)
    yield from check_passwords()
    yield from check_auth_options()


def _check_environment() -> Iterator[CheckMessage]:
    for name in BROKER_URLS:
        key, variable = f"{conf.option('CELERY_NAMESPACE')}_{name}", f"CELERY_{name}"
        given, said = getattr(settings, key, None), os.environ.get(variable)
        ours = isinstance(given, str) and str(given).startswith((*OURS, UnusableURL.SCHEME))
        if ours and said and said != given:
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


def _check_unusable(
    where: Place, url: UnusableURL, aliases: Mapping[str, Any]
) -> Iterator[CheckMessage]:
    """Tell what nobody else tells: what is wrong with the alias itself, its own checks do."""
    if url.alias not in aliases:
        yield error(
            20,
            f"{where} signs in as {url.alias[:60]!r}, which nobody defined"
            f"{suggestion(url.alias, map(str, aliases))}.",
            f"Add the alias to {conf.SETTING}, or name one of it: {listed(aliases)}.",
            where=where,
        )
    elif url.alias in conf.aliases():
        yield error(
            28,
            f"{where} was made before its alias was complete: {url.error.message}.",
            f"Call broker_url() below the last line that changes {conf.SETTING}, or pass it: "
            f"broker_url(settings={conf.SETTING}).",
            where=where,
        )


def _check_agreement(where: Place, url: BrokerURL) -> Iterator[CheckMessage]:
    name = unquote(url.partition("://")[2].partition("@")[0])
    alias = conf.aliases().get(name)
    if alias is not None and alias.url != url:
        yield error(
            28,
            f"{where} leads to {_hosts_of(url)}, and {conf.SETTING}[{name!r}] to "
            f"{_hosts_of(alias.url)} by now.",
            f"Call broker_url() below the last line that changes {conf.SETTING}: in the module of "
            "settings that Django is told about.",
            where=where,
        )


def _hosts_of(urls: str) -> str:
    return ", ".join(_host(url) or "?" for url in parts(urls))


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
