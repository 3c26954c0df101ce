"""Kombu's transport options: those of an alias for `connections`, and those of Celery."""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.checks.kafka import check_kafka_options
from django_mqauth.checks.link import is_insecure, leads_to_kafka
from django_mqauth.checks.messages import Place, error, from_error, warning
from django_mqauth.kinds import kind_of
from django_mqauth.redaction import celery_settings, secrets_within
from django_mqauth.sources import derived as derived_for
from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import ConfigurationError

_NUMBERS = (
    "connect_timeout",
    "interval_max",
    "interval_start",
    "interval_step",
    "max_retries",
    "read_timeout",
    "write_timeout",
)


def check_transport_options(name: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Check what `connections` hand to Kombu."""
    where = Place(conf.SETTING)[name]["TRANSPORT_OPTIONS"]
    options = entry.get("TRANSPORT_OPTIONS") or {}
    yield from check_options(where, options, [name])
    if leads_to_kafka(entry):
        yield from check_kafka_options(where, options, insecure=is_insecure(entry))
    said = set(os.environ.values())
    for path in secrets_within(options):
        ours = path[0] == "auth"
        if not ours and functools.reduce(operator.getitem, path, options) in said:
            continue
        yield warning(
            5,
            f"{functools.reduce(Place.__getitem__, path, where)} is a secret in plain text.",
            "Take it out: PROVIDER and OPTIONS say who signs in, and OPTIONS may name a file with "
            f"{path[-1]}_file."
            if ours
            else "Read it from the environment; who signs in, PROVIDER and OPTIONS say.",
            where=where,
        )


def check_celery_options(
    names: list[str], *, kafka: bool, insecure: bool
) -> Iterator[CheckMessage]:
    """Check what Celery hands to Kombu where these aliases or providers sign in."""
    for key in celery_settings("BROKER_TRANSPORT_OPTIONS"):
        options = getattr(settings, key)
        if isinstance(options, Mapping):
            yield from check_options(Place(key), options, names)
            if kafka:
                yield from check_kafka_options(Place(key), options, insecure=insecure)
        else:
            yield error(
                5,
                f"{key} is {kind_of(options)}.",
                'Write a dict, such as {"confirm_publish": True}.',
                where=Place(key),
            )


def check_options(
    where: Place, options: Mapping[Any, Any], names: list[str]
) -> Iterator[CheckMessage]:
    """Check names and kinds, and what `auth` says about who signs in."""
    for key, value in options.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(key, str):
            problem = f"has a key {str(key)[:60]!r} that is no text"
        elif key in _NUMBERS and value is not None and not (number and value >= 0):
            problem = f"has {value if number else kind_of(value)} as {key}"
        elif key == "confirm_publish" and not isinstance(value, bool):
            problem = f"has {kind_of(value)} as {key}"
        else:
            continue
        yield error(
            31,
            f"{where} {problem}.",
            "Write a number of seconds or tries, 0 or more; True or False for confirm_publish.",
            where=where,
        )
    auth = options.get("auth")
    if auth is None:
        return
    if not isinstance(auth, Mapping):
        problem = f"{where['auth']} is {kind_of(auth)}"
        yield error(22, f"{problem}.", "Write a dict of provider options.", where=where)
        return
    for name in names:
        yield from _check_auth(where["auth"], name, auth)


def _check_auth(where: Place, name: str, auth: Mapping[Any, Any]) -> Iterator[CheckMessage]:
    if _problem(name, {}) is not None and "provider" not in auth:
        return  # which is told about the alias itself
    problem = _problem(name, auth)
    if problem is not None:
        yield from_error(32, problem, where=where)


def _problem(name: str, auth: Mapping[Any, Any]) -> ConfigurationError | None:
    alias = conf.aliases().get(name)
    given = {} if alias is None else derived_for(alias)
    try:
        config = resolve(name, explicit=auth, derived=given)
        provider_class(config.provider).from_options(config.options)
    except ConfigurationError as error:
        return error
    return None
