"""Variables in scopes: `{vhost}` and `{claim}`.

What the broker puts in is not encoded: a claim that holds `*` or `/` changes what the scope means.
A claim that is no string, or that the token does not have, leaves the variable's name; so does the
scope claim, which the broker has made a list of by then. A brace that is not closed, or closed
late, makes the scope empty.

Source: RabbitMQ, rabbitmq_auth_backend_oauth2, "Scope aliases and variable expansion".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# The broker cuts a scope at each of these, so a variable's name can hold none of them.
_CUT = re.compile(r"([{.*}])")


def expand(scope: str, claims: Mapping[str, Any], vhost: str) -> str:
    """Return a scope with its variables filled in, as the broker does it."""
    if "{" not in scope:
        return scope
    pieces = _CUT.split(scope)
    while pieces and not pieces[-1]:
        pieces.pop()
    expanded: list[str] = []
    expecting = "text"
    for piece in pieces:
        if expecting == "text":
            if piece == "{":
                expecting = "name"
            else:
                expanded.append(piece)
        elif expecting == "name":
            expanded.append(_value(piece, claims, vhost))
            expecting = "close"
        elif piece == "}":
            expecting = "text"
        else:
            return ""
    return "".join(expanded)


def _value(name: str, claims: Mapping[str, Any], vhost: str) -> str:
    if name == "vhost":
        return vhost
    value = claims.get(name)
    return value if isinstance(value, str) and name != "scope" else name
