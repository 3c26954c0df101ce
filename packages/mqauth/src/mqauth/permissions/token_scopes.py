"""How a token comes to its scopes, user name and tags.

The broker collects scopes in this order: the scope claim, a requesting-party token's, those of
`additional_scopes_key`, what aliases stand for, rich authorization details; then it drops all that
lack the prefix. Nothing here verifies a signature: that is the broker's business.

Source: RabbitMQ, "OAuth 2 guide"; `rabbit_auth_backend_oauth2.erl` of 3.10 to 4.3.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mqauth.durations import duration
from mqauth.permissions.resource_server import Refused, ResourceServer, choose
from mqauth.permissions.rich_authorization import scopes_of_details
from mqauth.permissions.scope_grant import ScopeGrant
from mqauth.permissions.scopes import TAG, IgnoredScope
from mqauth.permissions.versions import NEWEST, BrokerVersion

MAX_SCOPES = 2048
"""More than these in one token are refused, since 4.2.6."""
BUILT_IN_TAGS = ("administrator", "impersonator", "management", "monitoring", "policymaker")
"""The tags that every broker knows; since 4.2.6 others count only if something there uses them."""

_UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenReading:
    """What a broker makes of a token.

    Attributes:
        grant: What it may do; nothing where it is refused.
        username: Whom it signs in; None where the login name stays.
        tags: The user's tags.
        dropped: Scopes that lack the prefix.
        refused: Why it is not accepted at all, or None.
        server: The resource server it is for.
    """

    grant: ScopeGrant
    username: str | None
    tags: tuple[str, ...]
    dropped: tuple[IgnoredScope, ...]
    refused: Refused | None
    server: ResourceServer


def read_token(
    claims: Mapping[str, Any],
    servers: ResourceServer | Sequence[ResourceServer] = (),
    version: BrokerVersion = NEWEST,
    *,
    now: Callable[[], float] = time.time,
) -> TokenReading:
    """Return what a broker makes of a token's claims.

    Args:
        claims: Those of a token whose signature the broker accepts.
        servers: The broker's resource servers, the root's first.
        version: Which broker it is.
        now: The broker's clock, in seconds since 1970.
    """
    known = (
        [servers] if isinstance(servers, ResourceServer) else list(servers) or [ResourceServer()]
    )
    chosen = choose(known, claims, version)
    server = known[0] if isinstance(chosen, Refused) else chosen
    collected = collected_scopes(claims, server, version)
    refused = chosen if isinstance(chosen, Refused) else _lifetime(claims, server, version, now())
    if isinstance(collected, Refused):
        refused, collected = refused or collected, []
    prefix = server.prefix(version)
    kept, dropped = _by_prefix(collected, prefix)
    if version.has("pipeline"):
        kept = list(dict.fromkeys(kept))
    if len(kept) > MAX_SCOPES and version.has("scope_limit"):
        refused = refused or Refused(
            f"it has {len(kept):,} scopes, and the broker takes {MAX_SCOPES:,}",
            "use wildcards, or an alias on the broker",
        )
    grant = ScopeGrant(() if refused else kept, claims=claims, version=version, prefix=prefix)
    return TokenReading(
        grant=grant,
        username=username_of(claims, server, version),
        tags=_tags(kept, version),
        dropped=tuple(
            IgnoredScope(scope, prefix)
            for scope in dict.fromkeys(dropped)
            if scope not in server.scope_aliases  # counts by what it stands for
        ),
        refused=refused,
        server=server,
    )


def collected_scopes(
    claims: Mapping[str, Any], server: ResourceServer, version: BrokerVersion = NEWEST
) -> list[str] | Refused:
    """Return all scopes that a token comes to, before the prefix is looked at."""
    scope = claims.get("scope")
    scopes = _split(scope) if isinstance(scope, str) else scope
    if scopes is None and "scope" not in claims:
        if not version.has("pipeline"):
            return Refused("it has no scope claim", "this broker wants one, empty if need be")
        scopes = []
    if not isinstance(scopes, list) or not all(isinstance(item, str) for item in scopes):
        return Refused("its scope claim is no text and no list of texts", "correct the mapping")
    collect = _collect_new if version.has("pipeline") else _collect_old
    collected = collect(list(scopes), claims, server)
    if isinstance(collected, Refused):
        return collected
    if version.has("rar") and "authorization_details" in claims:
        collected = scopes_of_details(claims["authorization_details"], server) + collected
    return collected


def scopes_with_prefix(
    claims: Mapping[str, Any], server: ResourceServer, version: BrokerVersion = NEWEST
) -> tuple[list[str], list[str]] | Refused:
    """Return the scopes of a token that have the broker's prefix, without it, and the others."""
    collected = collected_scopes(claims, server, version)
    if isinstance(collected, Refused):
        return collected
    return _by_prefix(collected, server.prefix(version))


def _by_prefix(scopes: Iterable[str], prefix: str) -> tuple[list[str], list[str]]:
    kept, dropped = [], []
    for scope in scopes:
        if scope.startswith(prefix):
            kept.append(scope[len(prefix) :])
        else:
            dropped.append(scope)
    return kept, dropped


def values_at(path: str, claims: Mapping[str, Any], server_id: str) -> list[str]:
    """Return the scopes at a dotted path of claims (`additional_scopes_key`).

    A list on the way is gone through; a map at the end counts by its entry for the resource server.
    """
    keys = [key for key in path.split(".") if key]
    return _in_map(claims, keys, server_id) if keys else []


def username_of(
    claims: Mapping[str, Any], server: ResourceServer, version: BrokerVersion = NEWEST
) -> str | None:
    """Return the name that a token signs in; None where the login's own name is used."""
    if not version.has("preferred_username_claims"):
        names = [claims.get(name) for name in ("client_id", "sub")]
        return next((name for name in names if isinstance(name, str)), None)
    wanted = [*server.preferred_username_claims, "sub", "client_id"]
    named = (claims.get(name) for name in wanted)
    return next((name for name in named if isinstance(name, str)), _UNKNOWN)


def _collect_new(scopes: list[str], claims: Mapping[str, Any], server: ResourceServer) -> list[str]:
    scopes = values_at("authorization.permissions.scopes", claims, server.id) + scopes
    paths = _split(server.additional_scopes_key or "")
    scopes = [scope for path in paths for scope in values_at(path, claims, server.id)] + scopes
    return scopes + _aliased(scopes, server)


def _collect_old(
    scopes: list[str], claims: Mapping[str, Any], server: ResourceServer
) -> list[str] | Refused:
    """Collect as brokers before 4.1 do: one claim by its plain name, and aliases that replace."""
    key = server.additional_scopes_key
    if key is not None and key in claims:
        scopes = _mapped(claims[key], server.id, spread=True) + scopes
    authorization = claims.get("authorization")
    if isinstance(authorization, Mapping):
        permissions = authorization.get("permissions")
        for permission in permissions if isinstance(permissions, list) else []:
            found = permission.get("scopes", []) if isinstance(permission, Mapping) else []
            scopes = _texts([found] if isinstance(found, str) else found) + scopes
    if not server.scope_aliases:
        return scopes
    scopes = scopes + _aliased(scopes, server)
    if key is None:
        return scopes
    # Whatever the claim of that name holds takes the place of all scopes so far, even nothing.
    value = claims.get(key, [])
    named = [_as_text(item) for item in (value if isinstance(value, list) else [value])]
    texts = [text for text in named if text is not None]
    if len(texts) < len(named):
        return Refused(
            f"its claim {key} is no text and no list of texts, over which this broker stumbles",
            "correct the issuer's mapping, or go on to RabbitMQ 4.1",
        )
    return texts + _aliased(texts, server)


def _aliased(scopes: Iterable[str], server: ResourceServer) -> list[str]:
    found: list[str] = []
    for scope in scopes:
        stands_for = server.scope_aliases.get(scope, ())
        found += [stands_for] if isinstance(stands_for, str) else list(stands_for)
    return found


def _in_map(claims: Mapping[str, Any], keys: list[str], server_id: str) -> list[str]:
    key, rest = keys[0], keys[1:]
    if key not in claims:
        return []
    value = claims[key]
    if not rest:
        return _mapped(value, server_id, spread=True)
    if isinstance(value, Mapping):
        return _in_map(value, rest, server_id)
    return _in_list(value, rest, server_id) if isinstance(value, list) else []


def _in_list(items: list[Any], keys: list[str], server_id: str) -> list[str]:
    found: list[str] = []
    for item in items:
        if not keys:
            found += _mapped(item, server_id, spread=True)
        elif isinstance(item, Mapping) and keys[0] in item:
            value, rest = item[keys[0]], keys[1:]
            if isinstance(value, Mapping):
                found += _in_map(value, rest, server_id) if rest else []
            elif isinstance(value, list):
                found += _in_list(value, rest, server_id)
            else:
                found += _mapped(value, server_id, spread=True)
    return found


def _mapped(value: object, server_id: str, *, spread: bool) -> list[str]:
    if isinstance(value, str):
        return _split(value)
    if isinstance(value, list):
        return _flat(value) if spread else _texts(value)
    if isinstance(value, Mapping):
        own = value.get(server_id)
        names = _split(own) if isinstance(own, str) else _texts(own)
        return [f"{server_id}.{name}" for name in names]
    return []


def _flat(values: list[Any]) -> list[str]:
    found: list[str] = []
    for value in values:
        found += _flat(value) if isinstance(value, list) else _texts([value])
    return found


def _tags(scopes: Iterable[str], version: BrokerVersion) -> tuple[str, ...]:
    tags = {scope[len(TAG) :] for scope in scopes if scope.startswith(TAG)}
    if version.has("known_tags"):
        tags &= set(BUILT_IN_TAGS)
    return tuple(sorted(tags))


def _lifetime(
    claims: Mapping[str, Any], server: ResourceServer, version: BrokerVersion, now: float
) -> Refused | None:
    exp = claims.get("exp")
    # What no JSON has, Python reads all the same: an exponent beyond all bounds is infinity.
    number = type(exp) is int or (type(exp) is float and math.isfinite(exp))
    strict = version.has("require_exp")
    if number and (strict or isinstance(exp, int)):
        left = int(exp) - int(now) if exp is not None else 0
        if left > 0:
            return None
        ago = duration(left)
        return Refused(f"it expired {ago} ago", "fetch a new one, and compare the clocks")
    if strict and "exp" in claims:
        return Refused("its exp claim is no number", "have the issuer write seconds since 1970")
    if strict and server.require_exp:
        return Refused("it has no exp claim", "have the issuer set one, or require_exp = false")
    return None


def _split(text: str) -> list[str]:
    return [item for item in text.split(" ") if item]


def _as_text(value: object) -> str | None:
    """Return what Erlang makes of a JSON value that should be a text; None where it fails."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if isinstance(value, str | int) else None


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
