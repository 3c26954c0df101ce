"""Many questions, one JSON object a line, each with exactly one answer.

A question is `{"prefix": "", "scopes": [...], "vhost": ..., "kind": "vhost|resource|topic", "name":
..., "action": "configure|write|read", "routing_key": ...}`; `name` is the exchange where `kind` is
`topic`, and what a kind has no use for may be left out or null. In place of `scopes` there may be
`"permissions": {"configure": ..., "write": ..., "read": ...}`, and with it `"topic_permissions":
{"<exchange>": {"write": ..., "read": ...}}` and `"username"`. Anything else is answered with
`{"error": ...}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mqauth.permissions.checks import ACTIONS, Check, Grant
from mqauth.permissions.regexes import RegexGrant, TopicPermission
from mqauth.permissions.scope_grant import ScopeGrant
from mqauth.permissions.versions import NEWEST, BrokerVersion

MAX_LINE = 4 * 1024 * 1024
"""Bytes of a question; a longer one is answered with an error."""

_BLOCK = 1024 * 1024
_KINDS = frozenset({"vhost", "resource", "topic"})
_NO_ACTION = (None, "")
_QUESTION = frozenset({"vhost", "kind", "name", "action", "routing_key"})
_OF_TOKENS = _QUESTION | {"scopes", "prefix"}
_OF_USERS = _QUESTION | {"permissions", "topic_permissions", "username"}
_ALL = _OF_TOKENS | _OF_USERS
_BLANKS = " \t\r\n"
_PERMISSIONS = frozenset(ACTIONS)
_TOPIC_PERMISSIONS = frozenset({"write", "read"})
# What json.loads does around this takes longer than this itself.
_scanned: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


class BadQuestionError(ValueError):
    """A line is no question; the text says why."""


def blocks_of_lines(read: Callable[[int], bytes]) -> Iterator[list[bytes]]:
    """Return lines as they come, those that are there at once together.

    Args:
        read: Waits for bytes and returns those that are there, at most as many as it is told, such
            as `sys.stdin.buffer.read1`.
    """
    rest = b""
    while block := read(_BLOCK):
        lines = (rest + block).split(b"\n")
        # What is beyond the limit is not kept: a line may have no end.
        rest = lines.pop()[: MAX_LINE + 1]
        if lines:
            yield lines
    if rest:
        yield [rest]


def answers(lines: Iterable[str | bytes], version: BrokerVersion = NEWEST) -> Iterator[str]:
    """Return one line of JSON for each line.

    A line that is no question is answered with `{"error": ...}`, so that answers keep their places.
    """
    quoted = json.encoder.encode_basestring
    for line in lines:
        try:
            grant, check = question(_parsed(line), version)
        except (ValueError, RecursionError) as error:
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
    get = asked.get
    kind: Any = get("kind")
    vhost: Any = get("vhost")
    action: Any = get("action")
    if type(kind) is not str or kind not in _KINDS:
        raise _not_a_kind(asked)
    if action not in ACTIONS and not (kind == "vhost" and action in _NO_ACTION):
        raise BadQuestionError(f"action is one of {', '.join(ACTIONS)}")
    name: Any = get("name")
    key: Any = get("routing_key")
    if not (type(vhost) is str and type(name) is str and type(key) is str):
        name, key = _texts(asked)
    check = Check(kind, vhost, name, action or None, key)  # type: ignore[arg-type] # looked at
    if "permissions" in asked:
        return _regexes(asked, vhost, version), check
    if not asked.keys() <= _OF_TOKENS:
        raise _unknown(asked, _OF_TOKENS)
    return _scopes(get("scopes"), get("prefix"), version), check


def _parsed(line: str | bytes) -> Any:
    if len(line) > MAX_LINE:
        raise BadQuestionError(f"the line is longer than {MAX_LINE:,} bytes")
    text = line.decode(errors="surrogatepass") if isinstance(line, bytes) else line
    text = text.strip(_BLANKS)
    if not text:
        raise BadQuestionError("the line is blank")
    try:
        asked, end = _scanned(text, 0)
    except StopIteration:
        return json.loads(text)  # says what is wrong
    return asked if end == len(text) else json.loads(text)


def _not_a_kind(asked: dict[str, Any]) -> BadQuestionError:
    for needed in ("kind", "vhost"):
        if needed not in asked:
            return BadQuestionError(f"{needed!r} is missing")
    return BadQuestionError(f"kind is one of {', '.join(sorted(_KINDS))}")


def _texts(asked: dict[str, Any]) -> tuple[str, str]:
    """Return name and routing key, where one of them is missing or vhost is no text."""
    if "vhost" not in asked:
        raise BadQuestionError("'vhost' is missing")
    found = []
    for member, needed in (
        ("vhost", True),
        ("name", asked["kind"] != "vhost"),
        ("routing_key", False),
    ):
        value = asked.get(member)
        if value is None and needed and member not in asked:
            raise BadQuestionError(f"{member!r} is missing")
        if type(value) is not str and (needed or value is not None):
            raise BadQuestionError("vhost, name and routing_key are texts")
        found.append(value or "")
    return found[1], found[2]


def _unknown(asked: dict[str, Any], known: frozenset[str]) -> BadQuestionError:
    unknown = next(key for key in asked if key not in known)
    if unknown in _ALL:
        other = "permissions" if known is _OF_TOKENS else "scopes"
        return BadQuestionError(f"{unknown!r} belongs to a question with {other}")
    return BadQuestionError(f"a question has no {unknown[:40]!r}")


def _scopes(scopes: Any, prefix: Any, version: BrokerVersion) -> Grant:
    if type(scopes) is str:
        scopes = scopes.split()
    if scopes is None:
        raise BadQuestionError("'scopes' is missing: what the credential may do")
    if type(scopes) is not list or (type(prefix) is not str and prefix is not None):
        raise BadQuestionError("scopes is a list of texts, prefix a text")
    prefix = prefix or ""
    try:
        kept = [scope[len(prefix) :] for scope in scopes if scope.startswith(prefix)]
    except AttributeError:
        raise BadQuestionError("scopes is a list of texts, prefix a text") from None
    return ScopeGrant(kept, version=version, prefix=prefix)


def _regexes(asked: dict[str, Any], vhost: str, version: BrokerVersion) -> Grant:
    if not asked.keys() <= _OF_USERS:
        raise _unknown(asked, _OF_USERS)
    topics, username = asked.get("topic_permissions"), asked.get("username")
    if type(username) is not str and username is not None:
        raise BadQuestionError("username is a text")
    patterns = _patterns(asked["permissions"], _PERMISSIONS, "permissions")
    if type(topics) is not dict and topics is not None:
        raise BadQuestionError("topic_permissions is a JSON object")
    by_exchange = {
        exchange: TopicPermission(**_patterns(each, _TOPIC_PERMISSIONS, "topic_permissions"))
        for exchange, each in (topics or {}).items()
    }
    return RegexGrant(
        vhost=vhost, topics=by_exchange, username=username or "", version=version, **patterns
    )


def _patterns(given: Any, known: frozenset[str], where: str) -> dict[str, str]:
    if type(given) is not dict:
        raise BadQuestionError(f"{where} is a JSON object")
    if not given.keys() <= known:
        raise BadQuestionError(f"{where} has {', '.join(sorted(known))} and nothing else")
    patterns = {action: given.get(action) for action in known}
    if not all(type(each) is str or each is None for each in patterns.values()):
        raise BadQuestionError(f"{where} holds texts")
    return {action: pattern or "" for action, pattern in patterns.items()}
