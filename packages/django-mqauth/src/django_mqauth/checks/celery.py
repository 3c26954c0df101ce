"""Celery's settings, as far as they concern who signs in to the broker."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.broker import BrokerURL, UnusableURL
from django_mqauth.broker_address import addresses, each_url, holds_password, without_login
from django_mqauth.checks.celery_secrets import (
    OURS,
    broker_urls,
    check_auth_options,
    check_passwords,
    meant_scheme,
)
from django_mqauth.checks.link import is_insecure, is_loopback
from django_mqauth.checks.messages import Place, error, from_error, listed, warning
from django_mqauth.checks.tls import check_tls
from django_mqauth.checks.transport_options import check_celery_options
from django_mqauth.kinds import kind_of
from django_mqauth.optional import has_celery
from django_mqauth.redaction import BROKER_URLS, celery_settings
from mqauth.broker_url import check_parameters
from mqauth.config.named_entries import named_entries
from mqauth.config.options import suggestion
from mqauth.config.registry import provider_names
from mqauth.errors import ConfigurationError

_BARE_HOSTS = re.compile(r"[\w.-]+(;[\w.-]+)*", re.ASCII)


def check_celery(aliases: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Check Celery's broker URLs, TLS options and transport options."""
    names, signing_in, kafka = _known_names(), [], False
    yield from _check_environment()
    yield from _check_kinds()
    yield from _check_unread()
    for key, url in broker_urls():
        if isinstance(url, UnusableURL):
            yield from _check_unusable(Place(key), url, aliases)
            continue
        if isinstance(url, BrokerURL):
            yield from _check_agreement(Place(key), url)
        for part in map(str.strip, each_url(url)):
            scheme, _, rest = part.partition(":")
            if scheme in OURS and rest.startswith("//"):
                yield from _check_url(Place(key), part, names, aliases)
                signing_in.append(_who(part) or _provider())
                kafka = kafka or scheme.endswith("-kafka")
            elif meant_scheme(part):
                yield _misspelt(Place(key), part)
            elif _is_url(part) or not url:
                yield from _check_foreign(Place(key), part, aliases)
            elif _BARE_HOSTS.fullmatch(part):
                yield warning(
                    13,
                    f"{key} is a host's name alone: Celery signs in there as guest, in clear text.",
                    "Write django_mqauth.broker_url() in the settings, or a whole URL.",
                    where=Place(key),
                )
            else:
                yield error(
                    33,
                    f"{key} is no URL.",
                    "Write django_mqauth.broker_url() in the settings, or a URL such as "
                    "mqauths://default@host/vhost.",
                    where=Place(key),
                )
    yield from check_passwords()
    yield from check_auth_options()
    insecure = any(_is_insecure(aliases.get(name)) for name in signing_in)
    yield from check_celery_options(
        sorted(names.intersection(signing_in)), kafka=kafka, insecure=insecure
    )


def _misspelt(where: Place, url: str) -> CheckMessage:
    meant, (scheme, _, rest) = meant_scheme(url), url.partition(":")
    wrong = f"has the scheme {scheme[:20]}" if rest.startswith("//") else "begins with no scheme://"
    hint = f"Begin it with {meant}://, as in {meant}://default@host."
    return error(33, f"{where} {wrong}.", hint, where=where)


def _is_url(text: str) -> bool:
    """Return whether Kombu takes it for a URL, or for the host of a transport named beside it."""
    return text.find("://") > 0 or any(celery_settings("BROKER_TRANSPORT"))


def _check_kinds() -> Iterator[CheckMessage]:
    for key in celery_settings(*BROKER_URLS):
        given = getattr(settings, key)
        for url in given if isinstance(given, list | tuple) else [given]:
            if isinstance(url, str) and url:
                continue
            yield error(
                33,
                f"{key} is {kind_of(url) if url != '' else 'empty'}.",
                f"Write {key} = django_mqauth.broker_url()"
                + (", with its parentheses." if callable(url) else "."),
                where=Place(key),
            )
    for key in celery_settings("BROKER_USE_SSL"):
        tls = getattr(settings, key)
        if not isinstance(tls, bool | Mapping):
            yield error(
                29,
                f"{key} is {kind_of(tls)}.",
                f'Write {key} = django_mqauth.broker_use_ssl(), or a dict such as {{"ca_certs": '
                '"/path/to/ca.pem"}.',
                where=Place(key),
            )


def _check_unread() -> Iterator[CheckMessage]:
    """Tell of a URL that stands under a name which Celery does not look at."""
    if any(celery_settings(*BROKER_URLS)):
        return
    # Some of Django's own settings must not be looked at: they are deprecated.
    for key in [key for key in dir(settings) if "BROKER" in key or "CELERY" in key]:
        if isinstance(getattr(settings, key), BrokerURL | UnusableURL):
            expected = f"{conf.option('CELERY_NAMESPACE')}_BROKER_URL"
            yield warning(
                12,
                f"{key} has the URL of an alias, and Celery looks for it in {expected}.",
                f"Rename it to {expected}, or set {conf.SETTING}_CELERY_NAMESPACE to the namespace "
                "that app.config_from_object was given.",
                where=Place(key),
            )


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
    plain, _, query = without_login(url).partition("?")
    try:
        for each in _each_host(plain):
            addresses(each)
    except ConfigurationError as problem:
        sentence = f"{where} {problem.message}."
        yield error(33, sentence, f"{_capital(problem.remedy)}.", where=where)
        return
    try:
        check_parameters(query)
    except ConfigurationError as problem:
        yield from_error(33, problem, where=where)
        return
    who = _who(url) or _provider()
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


def _each_host(url: str) -> Iterator[str]:
    """Return a URL for each host: with Kafka, commas may stand between them."""
    scheme, _, rest = url.partition("://")
    hosts, slash, path = rest.partition("/")
    several = hosts.split(",") if scheme.endswith("-kafka") else [hosts]
    for host in filter(None, several) if any(several) else [""]:
        yield f"{scheme}://{host}{slash}{path}"


def _check_unusable(
    where: Place, url: UnusableURL, aliases: Mapping[str, Any]
) -> Iterator[CheckMessage]:
    """Tell what nobody else tells: what is wrong with the alias itself, its own checks do."""
    if url.alias not in aliases:
        yield error(
            20,
            f"{where} signs in as {str(url.alias)[:60]!r}, which nobody defined"
            f"{suggestion(str(url.alias), map(str, aliases))}.",
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
    name = _who(each_url(url)[0])
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
    return ", ".join(_host(url) or "?" for url in each_url(urls))


def _who(url: str) -> str:
    return unquote(url.partition("://")[2].partition("/")[0].rpartition("@")[0])


def _provider() -> str:
    """Return who signs in according to the transport options."""
    for key in celery_settings("BROKER_TRANSPORT_OPTIONS"):
        options = getattr(settings, key)
        auth = options.get("auth") if isinstance(options, Mapping) else None
        if isinstance(auth, Mapping):
            return str(auth.get("provider") or "")
    return ""


def _capital(remedy: str | None) -> str:
    return f"{(remedy or '')[:1].upper()}{(remedy or '')[1:]}"


def _check_link(where: Place, url: str, entry: Any) -> Iterator[CheckMessage]:
    insecure, scheme = _is_insecure(entry), url.partition(":")[0]
    kafka = scheme.endswith("-kafka")
    key = f"{conf.option('CELERY_NAMESPACE')}_BROKER_USE_SSL"
    tls = getattr(settings, key, None)
    if isinstance(tls, Mapping) and not (isinstance(entry, Mapping) and tls == entry.get("TLS")):
        yield from check_tls(Place(key), tls, insecure=insecure, kafka=kafka)
    hosts = [host for each in _each_host(url) if (host := _host(each))]
    remote = [host for host in hosts if not is_loopback(host)]
    if scheme in ("mqauth", "mqauth-kafka") and not tls and not insecure and remote:
        yield error(
            21,
            f"{where} leads to {', '.join(remote)} in clear text.",
            f"Write {scheme.replace('mqauth', 'mqauths')}://: everybody on the way can read a "
            "credential.",
            where=where,
        )
    wanted = entry.get("TLS") if isinstance(entry, Mapping) else None
    if wanted and not tls and scheme in ("mqauths", "mqauths-kafka"):
        yield warning(
            6,
            f"{key} is not set, but the alias has TLS options of its own, which Celery ignores.",
            f"Write {key} = django_mqauth.broker_use_ssl().",
            where=where,
        )


def _is_insecure(entry: Any) -> bool:
    return isinstance(entry, Mapping) and is_insecure(entry)


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
