"""IAM policy documents: what is missing in them is added, what is there stays."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

Document = dict[str, Any]

TOKEN_ACTIONS = ("sts:GetWebIdentityToken", "sts:TagGetWebIdentityToken")
"""What the role must be allowed; the second is for tokens with tags."""

_VERSION = "2012-10-17"


def allowing_tokens(present: Document | None) -> Document:
    """Return the role's policy so that it may have tokens signed."""
    statement = {
        "Sid": "WebIdentityTokens",
        "Effect": "Allow",
        "Action": list(TOKEN_ACTIONS),
        "Resource": "*",
    }
    if present is not None and _allows(present, TOKEN_ACTIONS):
        return present
    return _with(present, statement)


def trusting(present: Document | None, principals: Iterable[str]) -> Document:
    """Return the role's trust policy so that all of `principals` may assume the role."""
    trusted = _trusted(present) if present is not None else set()
    missing = [arn for arn in principals if arn not in trusted]
    if present is not None and not missing:
        return present
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": missing[0] if len(missing) == 1 else missing},
        "Action": "sts:AssumeRole",
    }
    return _with(present, statement)


def as_text(document: Document | None) -> str:
    """Return a document in the form that is compared and shown."""
    return "" if document is None else json.dumps(document, indent=2)


def assumed_role(caller_arn: str) -> str | None:
    """Return the name of the role whose session a caller is; None where it is none.

    A trust policy names the role itself, and only IAM knows the path in its ARN.
    """
    # arn:aws:sts::123456789012:assumed-role/NAME/SESSION
    parts = caller_arn.split(":", 5)
    if len(parts) == 6 and parts[2] == "sts" and parts[5].startswith("assumed-role/"):
        return parts[5].split("/")[1]
    return None


def _with(present: Document | None, statement: Mapping[str, Any]) -> Document:
    document = copy.deepcopy(present or {"Version": _VERSION})
    document["Statement"] = [*_statements(document), dict(statement)]
    return document


def _statements(document: Document) -> list[dict[str, Any]]:
    found = document.get("Statement", [])
    return [found] if isinstance(found, dict) else list(found)


def _allows(document: Document, actions: Iterable[str]) -> bool:
    allowed = [
        pattern.lower()
        for statement in _unconditional(document)
        if "*" in _texts(statement.get("Resource"))
        for pattern in _texts(statement.get("Action"))
    ]
    return all(any(fnmatchcase(a.lower(), pattern) for pattern in allowed) for a in actions)


def _trusted(document: Document) -> set[str]:
    return {
        arn
        for statement in _unconditional(document)
        if {"sts:assumerole", "sts:*", "*"} & {a.lower() for a in _texts(statement.get("Action"))}
        for arn in _principals(statement)
    }


def _unconditional(document: Document) -> list[dict[str, Any]]:
    # A condition may or may not hold for us: what it grants does not count as granted.
    return [
        statement
        for statement in _statements(document)
        if statement.get("Effect") == "Allow" and not statement.get("Condition")
    ]


def _principals(statement: Mapping[str, Any]) -> list[str]:
    principal = statement.get("Principal")
    return _texts(principal.get("AWS")) if isinstance(principal, dict) else []


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(item) for item in value] if isinstance(value, list) else []
