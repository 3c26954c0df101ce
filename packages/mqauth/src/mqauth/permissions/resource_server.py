"""What a broker is told about OAuth 2, and which tokens are meant for it.

Source: RabbitMQ, "OAuth 2 guide": resource_server_id, resource_servers, verify_aud, scope_prefix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mqauth.permissions.versions import BrokerVersion


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceServer:
    """The settings of one resource server, in the names of `rabbitmq.conf`.

    Attributes:
        id: Its `resource_server_id`: the audience that a token must name.
        scope_prefix: What scopes begin with; None for `<id>.`.
        resource_server_type: The `type` of its authorization details; None for none.
        additional_scopes_key: Claims that hold scopes too: dotted paths, separated by blanks.
        scope_aliases: Scopes that stand for others, each with what it stands for.
        preferred_username_claims: Claims that name the user, before `sub` and `client_id`.
        verify_aud: Whether a token has to name it as its audience.
        require_exp: Whether a token has to expire, where the broker knows this setting.
        issuer: The issuer whose keys it fetches; None where it is not told one, or is told the keys
            themselves.
        verify_issuer: Whether a token's `iss` has to be that issuer, where the broker knows this
            setting. Without it, RabbitMQ takes whatever one of the issuer's keys has signed.
    """

    id: str = "rabbitmq"
    scope_prefix: str | None = None
    resource_server_type: str | None = None
    additional_scopes_key: str | None = None
    scope_aliases: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    preferred_username_claims: Sequence[str] = ()
    verify_aud: bool = True
    require_exp: bool = True
    issuer: str | None = None
    verify_issuer: bool = False

    def prefix(self, version: BrokerVersion) -> str:
        """Return what this broker wants in front of each scope."""
        if self.scope_prefix is not None and version.has("scope_prefix"):
            return self.scope_prefix
        return f"{self.id}." if self.id else ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a broker takes a token for none of its own.

    Attributes:
        reason: What is wrong with it.
        remedy: What to do about it.
    """

    reason: str
    remedy: str


def same_issuer(claimed: object, trusted: str) -> bool:
    """Tell whether a token's issuer is the one that is trusted, a slash at the end aside."""
    return isinstance(claimed, str) and claimed.rstrip("/") == trusted.rstrip("/")


def choose(
    servers: Sequence[ResourceServer], claims: Mapping[str, Any], version: BrokerVersion
) -> ResourceServer | Refused:
    """Return which of a broker's resource servers a token is for, as the broker chooses."""
    audience = claims.get("aud")
    named = _audiences(audience)
    if named is None and "aud" in claims:
        return Refused("its aud claim is neither a text nor a list", "correct the issuer's mapping")
    if not version.has("pipeline"):
        return _choose_old(servers, named, version)
    matching = [server for server in servers if server.id and server.id in (named or ())]
    if len(matching) > 1:
        ids = ", ".join(server.id for server in matching)
        return Refused(
            f"its audience names several resource servers: {ids}", "ask for one audience only"
        )
    if matching:
        return matching[0]
    open_to_all = [server for server in servers if not server.verify_aud]
    if len(open_to_all) == 1:
        return open_to_all[0]
    return _not_for(servers, named)


def _choose_old(
    servers: Sequence[ResourceServer], named: list[str] | None, version: BrokerVersion
) -> ResourceServer | Refused:
    for server in servers:
        if named is not None and (not server.id or server.id in named):
            return server
        if version.has("verify_aud") and not server.verify_aud:
            return server
    return _not_for(servers, named)


def _not_for(servers: Sequence[ResourceServer], named: list[str] | None) -> Refused:
    wanted = " or ".join(repr(server.id) for server in servers)
    said = "has no aud claim" if named is None else f"is for {', '.join(named) or 'nobody'}"
    return Refused(
        f"the token {said}, and the broker's resource_server_id is {wanted}",
        "ask the issuer for that audience, or set resource_server_id to the one it gives",
    )


def _audiences(audience: object) -> list[str] | None:
    if isinstance(audience, str):
        return audience.split(" ") if audience.strip(" ") else []
    if isinstance(audience, list):
        return [item for item in audience if isinstance(item, str)]
    return None
