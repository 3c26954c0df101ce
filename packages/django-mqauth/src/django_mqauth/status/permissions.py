"""The scopes of a token in words.

They are read as the broker reads them. Which prefix it wants is not known here, so whatever stands
before the permission is taken for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

from mqauth.credentials import BrokerCredentials
from mqauth.diagnosis.token_facts import facts_of
from mqauth.permissions.scopes import Scope, TagScope, parse_scope, weakness

_BEGIN = re.compile(r"(configure|read|write|tag):")
_VERBS = {
    "configure": "declare and delete",
    "read": "consume from and bind",
    "write": "publish to and bind",
}
MOST = 50


def of_credentials(credentials: BrokerCredentials, identity: str) -> list[dict[str, str]]:
    """Return each scope of a credential with what it allows; empty where it has none."""
    return explained(facts_of(credentials, identity).scopes[:MOST])


def explained(scopes: Iterable[str]) -> list[dict[str, str]]:
    """Return each scope with what it allows."""
    return [{"scope": scope[:200], "means": _meaning(scope)} for scope in scopes]


def _meaning(text: str) -> str:
    begin = _BEGIN.search(text)
    scope = parse_scope(text[begin.start() :] if begin else text)
    if isinstance(scope, Scope):
        weak = weakness(scope)
        return _allowed(scope) if weak is None else f"permits less than it looks: {weak}"
    if isinstance(scope, TagScope):
        return f"has the tag {scope.tag} in RabbitMQ's management"
    return f"means nothing to RabbitMQ's permissions: {scope.reason}"


def _allowed(scope: Scope) -> str:
    what = (
        "any queue or exchange"
        if scope.name == "*"
        else f"what is called {unquote_plus(scope.name) or 'nothing'}"
    )
    where = (
        "in any virtual host"
        if scope.vhost == "*"
        else f"in the virtual host {unquote_plus(scope.vhost)}"
    )
    return f"may {_VERBS[scope.action]} {what} {where}{_topics(scope)}"


def _topics(scope: Scope) -> str:
    key = scope.routing_key
    if scope.action == "configure":
        return ""
    if key is None:
        return ", topic exchanges left out (Celery's events need them)"
    return ", topics included" if key == "*" else f", topics by the routing key {unquote_plus(key)}"
