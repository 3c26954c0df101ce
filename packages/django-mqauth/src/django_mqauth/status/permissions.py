"""The scopes of a token in words.

Source: RabbitMQ, "OAuth 2 guide": `<prefix><permission>:<vhost>/<name>[/<routing key>]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_plus

from mqauth.credentials import BrokerCredentials
from mqauth.diagnosis.token_facts import facts_of

_SCOPE = re.compile(
    r"(?P<prefix>.*?)(?P<permission>configure|read|write):(?P<vhost>[^/]*)/(?P<name>[^/]*)"
    r"(?:/(?P<key>.*))?"
)
_TAG = re.compile(r".*?tag:(?P<tag>\w+)")
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


def _meaning(scope: str) -> str:
    if found := _SCOPE.fullmatch(scope):
        return _allowed(found.groupdict())
    if found := _TAG.fullmatch(scope):
        return f"has the tag {found['tag']} in RabbitMQ's management"
    return "means nothing to RabbitMQ's permissions"


def _allowed(parts: dict[str, Any]) -> str:
    what = "any queue or exchange" if parts["name"] == "*" else f"what is called {_name(parts)}"
    where = (
        "in any virtual host"
        if parts["vhost"] == "*"
        else f"in the virtual host {unquote_plus(parts['vhost'])}"
    )
    return f"may {_VERBS[parts['permission']]} {what} {where}{_topics(parts)}"


def _name(parts: dict[str, Any]) -> str:
    return unquote_plus(parts["name"]) or "nothing"


def _topics(parts: dict[str, Any]) -> str:
    key = parts["key"]
    if parts["permission"] == "configure":
        return ""
    if key is None:
        return ", topic exchanges left out (Celery's events need them)"
    return ", topics included" if key == "*" else f", topics by the routing key {unquote_plus(key)}"
