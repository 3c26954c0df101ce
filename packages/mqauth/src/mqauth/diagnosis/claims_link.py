"""What a fetched credential is: who issued it, for whom, for how long, and whether it fits."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mqauth.credentials import BrokerCredentials
from mqauth.diagnosis.findings import BrokenLinkError
from mqauth.durations import duration
from mqauth.errors import InvalidCredentialError
from mqauth.jwt_claims import unverified_claims
from mqauth.permissions.resource_server import Refused, ResourceServer, choose, same_issuer
from mqauth.permissions.signatures import refused_signature, signature_note
from mqauth.permissions.token_scopes import scopes_with_prefix
from mqauth.permissions.versions import NEWEST, BrokerVersion
from mqauth.secret import Secret

LARGEST_TOKEN = 8_000
"""Characters of a token that fit into the first frame of any broker."""
_VERSIONS = (NEWEST, BrokerVersion(4, 0, 0))
"""One of those that collect scopes in each way: nobody has asked the broker yet which it is."""
_SHOWN = 5


def claims_of(credentials: BrokerCredentials) -> Mapping[str, Any]:
    """Return a token's claims; none where it is no JWT."""
    try:
        return unverified_claims(credentials.password)
    except InvalidCredentialError:
        return {}


def check_claims(
    credentials: BrokerCredentials,
    *,
    issuer: str | None,
    servers: Sequence[ResourceServer],
    jwt_expected: bool,
    kind: str = "rabbitmq",
) -> str:
    """Look at a credential as the broker would.

    Args:
        credentials: What was fetched.
        issuer: Whose tokens are expected; None where nobody said.
        servers: What the broker is told, where that is known.
        jwt_expected: Whether only a JWT can work.
        kind: The kind of broker. What only RabbitMQ wants is asked of its tokens alone.

    Raises:
        BrokenLinkError: The broker would not take it.
    """
    if credentials.certificate is not None:
        return f"a certificate for {credentials.principal}"
    claims = claims_of(credentials)
    size = len(credentials.password.reveal())
    if not claims:
        if kind != "rabbitmq":
            return f"{size:,} characters that only the broker reads"
        if jwt_expected:
            raise BrokenLinkError(
                "what the issuer gave is no JWT, and RabbitMQ's OAuth 2 plugin reads nothing else",
                remedy="have the issuer give this client JSON Web Tokens, or see its audience",
            )
        return "no token: the broker knows what it may do"
    _check_times(claims, credentials.clock_skew)
    found = claims.get("iss")
    if issuer is not None and isinstance(found, str) and not same_issuer(found, issuer):
        raise BrokenLinkError(
            f"the token is of issuer {found}, not of {issuer}",
            remedy="set the option issuer to what the token says, if that is whom you trust",
        )
    chosen = choose(servers, claims, NEWEST) if servers and kind == "rabbitmq" else None
    if isinstance(chosen, Refused):
        raise BrokenLinkError(chosen.reason, remedy=chosen.remedy)
    elsewhere = chosen is not None and chosen.issuer and not same_issuer(found, chosen.issuer)
    if chosen is not None and elsewhere and chosen.verify_issuer:
        raise BrokenLinkError(
            f"the token is of issuer {found}, and the broker trusts {chosen.issuer}",
            remedy="set auth_oauth2.issuer to the token's, or fetch it from the broker's",
        )
    if chosen is not None:
        _check_scopes(claims, chosen)
    more = _as_rabbitmq_looks(credentials.password, chosen) if kind == "rabbitmq" else ""
    told = f"issuer {found}, audience {_shown(claims.get('aud'))}, {size:,} characters"
    if chosen is not None and elsewhere:
        told += f"; the broker fetches the keys of {chosen.issuer}, and one has to have signed this"
    return told + more


def _as_rabbitmq_looks(token: Secret, server: ResourceServer | None) -> str:
    """Look at the signature and the length; return what is to be told of them, if anything."""
    fetched = server is not None and server.issuer is not None
    unsigned = refused_signature(token, keys_fetched=fetched)
    if unsigned is not None:
        raise BrokenLinkError(unsigned.reason, remedy=unsigned.remedy)
    size = len(token.reveal())
    if size > LARGEST_TOKEN:
        raise BrokenLinkError(
            f"the token has {size:,} characters; RabbitMQ takes about {LARGEST_TOKEN:,}, "
            "and before 4.1 half of that",
            remedy="ask the issuer for fewer scopes or claims, or use scope aliases",
        )
    note = signature_note(token)
    return f"; {note}" if note else ""


def _check_scopes(claims: Mapping[str, Any], server: ResourceServer) -> None:
    """Refuse a token none of whose scopes has the prefix, whatever release the broker is of."""
    collected = [scopes_with_prefix(claims, server, version) for version in _VERSIONS]
    refused = [found for found in collected if isinstance(found, Refused)]
    if len(refused) == len(collected):
        raise BrokenLinkError(refused[0].reason, remedy=refused[0].remedy)
    found = [found for found in collected if not isinstance(found, Refused)]
    if any(kept for kept, _ in found) or not any(dropped for _, dropped in found):
        return
    prefix = server.prefix(NEWEST)
    dropped = list(dict.fromkeys(scope for _, each in found for scope in each))
    shown = ", ".join(dropped[:_SHOWN]) + ", …" * (len(dropped) > _SHOWN)
    raise BrokenLinkError(
        f"no scope of the token begins with the broker's prefix {prefix!r}, and none is an alias: "
        f"{shown}",
        remedy=f"have the issuer write scopes as {prefix}read:VHOST/NAME, or set "
        "auth_oauth2.scope_prefix to what they begin with",
    )


def _check_times(claims: Mapping[str, Any], skew: float) -> None:
    now = time.time() + skew
    exp, begins = _moment(claims.get("exp")), _moment(claims.get("nbf"))
    if exp is not None and exp <= now:
        raise BrokenLinkError(
            f"the token expired {duration(now - exp)} ago",
            remedy="see why the issuer hands out expired tokens, and at its clock",
        )
    if begins is not None and begins > now + 5:
        raise BrokenLinkError(
            f"the token is good only in {duration(begins - now)}",
            remedy="set the clocks of issuer and broker right",
        )


def _moment(claim: object) -> float | None:
    try:
        return float(claim) if isinstance(claim, int | float) else None
    except OverflowError:  # of whole numbers beyond any clock's
        return math.inf if isinstance(claim, int) and claim > 0 else -math.inf


def _shown(audience: object) -> str:
    if isinstance(audience, list):
        return " ".join(str(name) for name in audience)
    return str(audience) if audience is not None else "(none)"
