"""What a token's header tells about its signature, before anybody looks for the key.

Nothing here verifies a signature: that takes the broker's keys.

Source: RFC 7518, 3.1 and 3.6; `uaa_jwt_jwt.erl`, whose JOSE library takes no unsigned tokens.
"""

from __future__ import annotations

from mqauth.errors import InvalidCredentialError
from mqauth.jwt_claims import unverified_header
from mqauth.permissions.resource_server import Refused
from mqauth.secret import Secret

_SHARED = frozenset({"HS256", "HS384", "HS512"})
_REMEDY = "have the issuer sign it with a key pair, as with RS256 or ES256"


def refused_signature(token: str | Secret, *, keys_fetched: bool = False) -> Refused | None:
    """Return why no broker takes a token's signature; None where only its keys can tell.

    Args:
        token: The token; one that is no JWT has no such reason.
        keys_fetched: Whether the broker is known to have no keys but those of an issuer.
    """
    try:
        algorithm = unverified_header(token).get("alg")
    except InvalidCredentialError:
        return None
    text = token.reveal() if isinstance(token, Secret) else token
    if not isinstance(algorithm, str) or algorithm.lower() == "none":
        said = "says no alg" if algorithm is None else f"has alg {str(algorithm)[:20]!r}"
        return Refused(
            f"the token is not signed: its header {said}, and RabbitMQ refuses unsigned tokens",
            _REMEDY,
        )
    if text.endswith("."):
        return Refused("the token has no signature: its third part is empty", _REMEDY)
    if keys_fetched and algorithm in _SHARED:
        return Refused(
            f"the token is signed with a shared secret ({algorithm}), and the broker has only the "
            "public keys that it fetches from the issuer",
            _REMEDY,
        )
    return None


def signature_note(token: str | Secret) -> str | None:
    """Return what to know about a token's signature that some brokers take and most do not."""
    try:
        algorithm = unverified_header(token).get("alg")
    except InvalidCredentialError:
        return None
    if algorithm not in _SHARED:
        return None
    return (
        f"the token is signed with a shared secret ({algorithm}): a broker takes it only if that "
        "secret is among its own signing keys, and none does that fetches an issuer's keys"
    )
