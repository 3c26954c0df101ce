"""`manage.py check --tag mqauth_live`: signs in for once, where somebody asks for that."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage

from django_mqauth import conf
from django_mqauth.checks.messages import Place, error
from django_mqauth.login import sign_in_once
from django_mqauth.optional import has_kombu
from django_mqauth.sources import shared
from mqauth.errors import ConfigurationError, MQAuthError

TAG = "mqauth_live"


def check_live() -> Iterator[CheckMessage]:
    """Fetch each alias' credential and, where Kombu is installed, sign in with it."""
    try:
        names = list(conf.raw_aliases())
    except ConfigurationError as problem:
        yield _untried(Place(conf.SETTING), problem)
        return
    for name in names:
        where = Place(conf.SETTING)[name]
        try:
            alias = conf.alias(name)
        except ConfigurationError as problem:
            yield _untried(where, problem)
            continue
        try:
            shared(alias).source.get()
        except MQAuthError as problem:
            yield error(
                26,
                f"There is no credential for {where}: {problem.message}.",
                f"{problem.remedy or 'See the log'}; manage.py mqauth_doctor goes through it.",
                where=where,
            )
            continue
        failure = _login(name)
        if failure:
            yield error(
                27,
                f"The broker of {where} does not let it in: {failure}.",
                "manage.py mqauth_doctor goes through what leads there.",
                where=where,
            )


def _untried(where: Any, problem: ConfigurationError) -> CheckMessage:
    return error(
        26,
        f"{where} was not tried, since it cannot work: {problem.message}.",
        f"{(problem.remedy or 'see the log')[:1].upper()}{(problem.remedy or 'see the log')[1:]}; "
        "manage.py check tells more.",
        where=where,
    )


def _login(name: str) -> str | None:
    return sign_in_once(name) if has_kombu() else None


def was_asked_for() -> bool:
    """Return whether the tag was named: Django tells a check nothing about the tags.

    It runs all checks that are registered where no tag is named, and a login is none of the
    things that `runserver` or `migrate` should begin with.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "run_checks" and "tags" in frame.f_locals:
            return TAG in (frame.f_locals["tags"] or ())
        frame = frame.f_back
    return False
