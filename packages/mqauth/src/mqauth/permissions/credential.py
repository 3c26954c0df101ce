"""A credential as something that questions can be put to: a token, scopes, or expressions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mqauth.errors import ConfigurationError
from mqauth.jwt_claims import unverified_claims
from mqauth.permissions.checks import Grant
from mqauth.permissions.prefix_guess import assumed_server, guess_prefix
from mqauth.permissions.resource_server import ResourceServer, same_issuer
from mqauth.permissions.scope_grant import ScopeGrant
from mqauth.permissions.scopes import IgnoredScope, Scope, parse_scope, weakness
from mqauth.permissions.signatures import refused_signature, signature_note
from mqauth.permissions.token_scopes import read_token
from mqauth.permissions.versions import NEWEST, BrokerVersion
from mqauth.secret import Secret


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
        doubtful: The one of them that some of the scopes speak against; None where all agree.
    """

    grant: Grant
    username: str | None = None
    tags: tuple[str, ...] = ()
    refused: tuple[str, str] | None = None
    ignored: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    doubtful: str | None = None


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
    text = text.removeprefix("Bearer ").strip()
    claims = unverified_claims(text)
    notes, certain = [], True
    if not servers:
        server, guess = assumed_server(claims, version)
        servers, certain = [server], guess.certain
        notes.append(
            f"resource_server_id {server.id!r} and scope prefix {server.prefix(version)!r} are "
            f"assumed from the token: {guess.why}"
        )
    reading = read_token(claims, servers, version)
    refused = (reading.refused.reason, reading.refused.remedy) if reading.refused else None
    found, keys_of = claims.get("iss"), reading.server.issuer
    if issuer is None and reading.server.verify_issuer:
        issuer = keys_of
    if issuer is not None and not same_issuer(found, issuer):
        refused = (
            f"the token is of issuer {found!r}, and the broker trusts {issuer!r}",
            "fetch it from the issuer that the broker trusts",
        )
    elif issuer is None and keys_of is not None and not same_issuer(found, keys_of):
        notes.append(
            f"the token is of issuer {found!r}, and the broker fetches the keys of {keys_of!r}: it "
            "takes the token only if one of those has signed it"
        )
    unsigned = refused_signature(text, keys_fetched=keys_of is not None)
    if unsigned is not None:
        refused = (unsigned.reason, unsigned.remedy)  # the broker verifies before it reads on
    elif signed := signature_note(text):
        notes.append(signed)
    asked = Asked(
        grant=ScopeGrant(()) if refused else reading.grant,
        username=reading.username,
        tags=reading.tags,
        refused=refused,
        ignored=_ignored(reading.dropped, reading.grant),
        notes=tuple(notes),
        doubtful=None if certain else notes[0],
    )
    return replace(asked, notes=(*asked.notes, *_weaknesses(reading.grant)))


def scopes_asked(
    scopes: Sequence[str], prefix: str | None = None, version: BrokerVersion = NEWEST
) -> Asked:
    """Return what may be done with scopes; without a prefix, the one that they have is assumed."""
    notes = []
    if prefix is None:
        guess = guess_prefix(scopes)
        prefix = guess.prefix
        if prefix or not guess.certain:
            notes.append(f"scope prefix {prefix!r} is assumed from the scopes: {guess.why}")
    kept = [scope[len(prefix) :] for scope in scopes if scope.startswith(prefix)]
    grant = ScopeGrant(kept, version=version, prefix=prefix)
    dropped = [IgnoredScope(scope, prefix) for scope in scopes if not scope.startswith(prefix)]
    return Asked(
        grant=grant,
        tags=grant.tags(),
        ignored=_ignored(dropped, grant),
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


def _ignored(dropped: Iterable[IgnoredScope], grant: ScopeGrant) -> tuple[tuple[str, str], ...]:
    return (*((scope.text, scope.reason) for scope in dropped), *grant.ignored("/"))


def _weaknesses(grant: ScopeGrant) -> list[str]:
    notes = []
    for text in grant.scopes:
        scope = parse_scope(text)
        weak = weakness(scope) if isinstance(scope, Scope) else None
        if weak:
            notes.append(f"scope {grant.prefix}{text}: {weak}")
    return notes
