"""A credential as something that questions can be put to: a token, scopes, or expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mqauth.errors import ConfigurationError
from mqauth.jwt_claims import unverified_claims
from mqauth.permissions.checks import ACTIONS, Grant
from mqauth.permissions.resource_server import ResourceServer
from mqauth.permissions.scope_grant import ScopeGrant
from mqauth.permissions.scopes import IgnoredScope, Scope, parse_scope, weakness
from mqauth.permissions.token_scopes import TokenReading, read_token
from mqauth.permissions.versions import NEWEST, BrokerVersion
from mqauth.secret import Secret

_PREFIXED = re.compile(rf"(.*?)(?:{'|'.join(ACTIONS)}|tag):")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Whom a question is put to.

    Attributes:
        grant: What the credential may do.
        username: Whom it signs in, as far as it says so.
        tags: The user's tags.
        refused: Why the broker would not even let it in, and what to do; None if it would.
        ignored: Scopes that count for nothing, each with the reason.
        notes: What was assumed.
    """

    grant: Grant
    username: str | None = None
    tags: tuple[str, ...] = ()
    refused: tuple[str, str] | None = None
    ignored: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def token_asked(
    token: str | Secret,
    servers: Sequence[ResourceServer] = (),
    version: BrokerVersion = NEWEST,
    *,
    issuer: str | None = None,
) -> Asked:
    """Return what may be done with a token; its signature is not verified.

    Args:
        token: The token.
        servers: What the broker is told; without it, what the token itself suggests is assumed.
        version: Which broker it is.
        issuer: Whose tokens the broker trusts, where that is known.

    Raises:
        InvalidCredentialError: It is no JWT that anybody but its audience can read.
    """
    text = (token.reveal() if isinstance(token, Secret) else token).strip()
    claims = unverified_claims(text.removeprefix("Bearer ").strip())
    notes = []
    if not servers:
        servers = [_suggested(claims, version)]
        notes.append(
            f"resource_server_id {servers[0].id!r} and scope prefix "
            f"{servers[0].prefix(version)!r} are assumed from the token"
        )
    reading = read_token(claims, servers, version)
    refused = (reading.refused.reason, reading.refused.remedy) if reading.refused else None
    found = claims.get("iss")
    if issuer is not None and found != issuer:
        refused = (
            f"the token is of issuer {found!r}, and the broker trusts {issuer!r}",
            "fetch it from the issuer that the broker trusts",
        )
    asked = Asked(
        grant=ScopeGrant(()) if refused else reading.grant,
        username=reading.username,
        tags=reading.tags,
        refused=refused,
        ignored=_ignored(reading),
        notes=tuple(notes),
    )
    return replace(asked, notes=(*asked.notes, *_weaknesses(reading.grant)))


def scopes_asked(
    scopes: Sequence[str], prefix: str | None = None, version: BrokerVersion = NEWEST
) -> Asked:
    """Return what may be done with scopes; without a prefix, the one that they have is assumed."""
    notes = []
    if prefix is None:
        prefix = _prefix_of(scopes)
        if prefix:
            notes.append(f"scope prefix {prefix!r} is assumed from the scopes")
    kept = [scope[len(prefix) :] for scope in scopes if scope.startswith(prefix)]
    grant = ScopeGrant(kept, version=version, prefix=prefix)
    dropped = [IgnoredScope(scope, prefix) for scope in scopes if not scope.startswith(prefix)]
    return Asked(
        grant=grant,
        tags=grant.tags(),
        ignored=tuple((scope.text, scope.reason) for scope in (*dropped, *grant.ignored("/"))),
        notes=(*notes, *_weaknesses(grant)),
    )


def read_scopes(text: str) -> list[str]:
    """Return the scopes in a text: separated by blanks or lines, or a JSON list."""
    stripped = text.strip()
    if stripped.startswith("["):
        import json  # noqa: PLC0415 - rarely needed

        try:
            found = json.loads(stripped)
        except ValueError:
            raise ConfigurationError("the scopes begin like a JSON list and are none") from None
        return [str(scope) for scope in found]
    return stripped.split()


def _suggested(claims: Any, version: BrokerVersion) -> ResourceServer:
    audience = claims.get("aud")
    names = audience.split() if isinstance(audience, str) else audience
    first = next((name for name in names or () if isinstance(name, str)), "rabbitmq")
    server = ResourceServer(id=first, verify_aud=False)
    scope = claims.get("scope")
    scopes = scope.split() if isinstance(scope, str) else scope
    if isinstance(scopes, list):
        prefix = _prefix_of([item for item in scopes if isinstance(item, str)])
        if scopes and prefix != server.prefix(version):
            server = replace(server, scope_prefix=prefix)
    return server


def _prefix_of(scopes: Sequence[str]) -> str:
    for scope in scopes:
        match = _PREFIXED.match(scope)
        if match:
            return match[1]
    return ""


def _ignored(reading: TokenReading) -> tuple[tuple[str, str], ...]:
    scopes = (*reading.dropped, *reading.grant.ignored("/"))
    return tuple((scope.text, scope.reason) for scope in scopes)


def _weaknesses(grant: ScopeGrant) -> list[str]:
    notes = []
    for text in grant.scopes:
        scope = parse_scope(text)
        weak = weakness(scope) if isinstance(scope, Scope) else None
        if weak:
            notes.append(f"scope {text}: {weak}")
    return notes
