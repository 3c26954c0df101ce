"""Many questions, one JSON object a line.

A question is `{"prefix": "", "scopes": [...], "vhost": ..., "kind": "vhost|resource|topic", "name":
..., "action": "configure|write|read", "routing_key": ...}`; `name` is the exchange where `kind` is
`topic`. In place of `scopes` there may be `"permissions": {"configure": ..., "write": ..., "read":
...}`, and with it `"topic_permissions": {"<exchange>": {"write": ..., "read": ...}}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, cast

from mqauth.permissions.checks import ACTIONS, Action, Check, Grant, Kind
from mqauth.permissions.regexes import RegexGrant, TopicPermission
from mqauth.permissions.scope_grant import ScopeGrant
from mqauth.permissions.versions import NEWEST, BrokerVersion

_KINDS = ("vhost", "resource", "topic")


class BadQuestionError(ValueError):
    """A line is no question; the text says why."""


def answers(lines: Iterable[str | bytes], version: BrokerVersion = NEWEST) -> Iterator[str]:
    """Return one line of JSON for each line with a question; blank lines are passed over.

    A line that is no question is answered with `{"error": ...}`, so that answers keep their places.
    """
    load, quoted = json.loads, json.encoder.encode_basestring
    for line in lines:
        if not line.strip():
            continue
        try:
            grant, check = question(load(line), version)
        except (BadQuestionError, ValueError, RecursionError) as error:
            yield f'{{"error":{quoted(str(error) or "not JSON")}}}'
            continue
        decision = grant.decide(check)
        allow = "true" if decision.allow else "false"
        yield f'{{"allow":{allow},"because":{quoted(decision.because)}}}'


def question(asked: Any, version: BrokerVersion = NEWEST) -> tuple[Grant, Check]:
    """Read one question.

    Raises:
        BadQuestionError: It is none.
    """
    if type(asked) is not dict:
        raise BadQuestionError("a question is a JSON object")
    try:
        kind, vhost = asked["kind"], asked["vhost"]
    except KeyError as error:
        raise BadQuestionError(f"{error} is missing") from None
    name, action = asked.get("name", ""), asked.get("action")
    key = asked.get("routing_key", "")
    if kind not in _KINDS:
        raise BadQuestionError(f"kind is one of {', '.join(_KINDS)}")
    if kind != "vhost" and action not in ACTIONS:
        raise BadQuestionError(f"action is one of {', '.join(ACTIONS)}")
    if not (isinstance(vhost, str) and isinstance(name or "", str) and isinstance(key or "", str)):
        raise BadQuestionError("vhost, name and routing_key are texts")
    check = Check(
        kind=cast("Kind", kind),
        vhost=vhost,
        name=name or "",
        action=cast("Action | None", action),
        routing_key=key or "",
    )
    return _grant(asked, vhost, version), check


def _grant(asked: dict[str, Any], vhost: str, version: BrokerVersion) -> Grant:
    if "permissions" in asked:
        return _regexes(asked, vhost, version)
    scopes, prefix = asked.get("scopes", []), asked.get("prefix") or ""
    if isinstance(scopes, str):
        scopes = scopes.split()
    try:
        return _scopes(tuple(scopes), prefix, version)
    except (TypeError, AttributeError):
        raise BadQuestionError("scopes is a list of texts, prefix a text") from None


@lru_cache(maxsize=4096)
def _scopes(scopes: tuple[str, ...], prefix: str, version: BrokerVersion) -> Grant:
    kept = [scope[len(prefix) :] for scope in scopes if scope.startswith(prefix)]
    return ScopeGrant(kept, version=version, prefix=prefix)


def _regexes(asked: dict[str, Any], vhost: str, version: BrokerVersion) -> Grant:
    permissions, topics = asked["permissions"], asked.get("topic_permissions") or {}
    try:
        patterns = {action: str(permissions.get(action) or "") for action in ACTIONS}
        by_exchange = {
            exchange: TopicPermission(write=p.get("write") or "", read=p.get("read") or "")
            for exchange, p in topics.items()
        }
    except AttributeError:
        raise BadQuestionError("permissions and topic_permissions are JSON objects") from None
    return RegexGrant(
        vhost=vhost,
        topics=by_exchange,
        username=str(asked.get("username") or ""),
        version=version,
        **patterns,
    )
