"""Which prefix a broker probably wants in front of scopes, where nobody says it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from mqauth.permissions.checks import ACTIONS
from mqauth.permissions.resource_server import ResourceServer
from mqauth.permissions.versions import NEWEST, BrokerVersion

_PREFIXED = re.compile(rf"(.*?)(?:{'|'.join(ACTIONS)}|tag):", re.DOTALL)


class PrefixGuess(NamedTuple):
    """A guess, and what it stands on.

    Attributes:
        prefix: The prefix.
        why: Why this one, in words.
        certain: Whether all scopes that look like the broker's agree.
    """

    prefix: str
    why: str
    certain: bool


def guess_prefix(scopes: Sequence[str], suggested: str | None = None) -> PrefixGuess:
    """Guess the prefix from the scopes that there are.

    What the audience suggests wins if any scope has it; then what most of them have. So a single
    scope that somebody forgot to prefix changes nothing.

    Args:
        scopes: The scopes as the token has them.
        suggested: What the audience suggests.
    """
    matches = (_PREFIXED.match(scope) for scope in scopes)
    found = Counter(match[1] for match in matches if match)
    if not found:
        why = "the audience suggests it" if suggested else "no scope has any"
        return PrefixGuess(suggested or "", why, certain=True)
    if suggested is not None and suggested in found:
        prefix, also = suggested, ", and the audience suggests it"
    else:
        # Of equals the longest: to forget a prefix is easier than to invent one.
        prefix, also = max(found, key=lambda each: (found[each], len(each))), ""
    total = sum(found.values())
    return PrefixGuess(
        prefix, f"{found[prefix]} of {total} scopes have it{also}", certain=len(found) == 1
    )


def assumed_server(
    claims: Mapping[str, Any],
    version: BrokerVersion = NEWEST,
    scope_prefix: str | None = None,
) -> tuple[ResourceServer, PrefixGuess]:
    """Return what a broker is probably told that takes a token, and what that stands on.

    Args:
        claims: The token's claims.
        version: Which broker it is.
        scope_prefix: The prefix, where it is known.
    """
    audience = claims.get("aud")
    names = audience.split() if isinstance(audience, str) else audience
    names = names if isinstance(names, list) else []
    first = next((name for name in names if isinstance(name, str)), "rabbitmq")
    server = ResourceServer(id=first, verify_aud=False, scope_prefix=scope_prefix)
    suggested = server.prefix(version)
    if scope_prefix is not None:
        return server, PrefixGuess(suggested, "the provider's brokers want it", certain=True)
    scope = claims.get("scope")
    scopes = scope.split() if isinstance(scope, str) else scope
    texts = [each for each in scopes if isinstance(each, str)] if isinstance(scopes, list) else []
    guess = guess_prefix(texts, suggested)
    if guess.prefix != suggested:
        server = replace(server, scope_prefix=guess.prefix)
    return server, guess
