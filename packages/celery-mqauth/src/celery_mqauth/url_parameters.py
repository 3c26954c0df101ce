"""Refuses parameters of our URLs in our words.

Kombu passes them to its connection's constructor as arguments. What that does not know ends in a
`TypeError` of Kombu's, before any transport is asked; what it does know arrives as text, whatever
type it ought to have. There is no hook, so the function that takes URLs apart is wrapped; other
URLs pass untouched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import kombu.connection

from celery_mqauth.registration import SCHEMES
from mqauth.broker_url import check_parameters

_MARK = "_mqauth_checks_parameters"


def check_parameters_of_urls() -> None:
    """Have Kombu's connections refuse what `check_parameters` refuses; harmless when repeated."""
    connections: Any = kombu.connection
    parse = getattr(connections, "parse_url", None)
    if parse is not None and not hasattr(parse, _MARK):
        connections.parse_url = _checking(parse)


def _checking(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    @functools.wraps(parse)
    def checked(url: str) -> Any:
        scheme, _, rest = url.partition("://")
        if scheme in SCHEMES:
            check_parameters(rest.partition("?")[2].partition("#")[0])
        return parse(url)

    setattr(checked, _MARK, True)
    return checked
