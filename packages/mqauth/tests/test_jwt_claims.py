"""Claims of unverified tokens: read tolerantly, believed sceptically."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mqauth import jwt_claims
from mqauth.errors import InvalidCredentialError
from mqauth.secret import Secret
from mqauth_sandbox.oidc import OidcIssuer

CANARY = "canaryofclaims"


def encoded(part: object) -> str:
    """Return JSON in unpadded base64url."""
    text = part if isinstance(part, str) else json.dumps(part)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def token(claims: object, header: object = None) -> str:
    """Return an unsigned token in compact form."""
    return f"{encoded({'alg': 'RS256'} if header is None else header)}.{encoded(claims)}.c2ln"


def test_claims_of_a_real_token(issuer: OidcIssuer) -> None:
    """A token of an issuer gives its times as UTC and its subject."""
    before = datetime.now(UTC).replace(microsecond=0)
    claims = jwt_claims.unverified_claims(Secret(issuer.mint(lifetime=60, nbf=1_000_000_000)))
    issued_at, expiry = jwt_claims.issued_at(claims), jwt_claims.expiry(claims)
    assert issued_at is not None
    assert expiry is not None
    assert issued_at >= before
    assert 59 <= (expiry - issued_at).total_seconds() <= 61
    assert jwt_claims.not_before(claims) == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    assert jwt_claims.subject(claims) == issuer.client_id


@pytest.mark.parametrize("length", range(4))
def test_any_padding_is_understood(length: int) -> None:
    """Base64url of every length modulo four decodes."""
    claims = {"sub": "x" * length}
    assert jwt_claims.unverified_claims(token(claims)) == claims


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        CANARY,
        f"{CANARY}.{CANARY}",
        f"{CANARY}.{CANARY}.{CANARY}",
        f"a.b.c.d.{CANARY}",
        token([CANARY]),
        token(CANARY),
        token({"sub": CANARY}, header=[]),
        f"{encoded({})}.{encoded({})}=.x",
        f"{encoded({})}.{encoded({})} .x",
        f"{encoded({})}.{encoded('{' + CANARY)}.x",
        f"{encoded({})}.{encoded('[' * 100_000)}.x",
        "é.é.é",
        "x" * (jwt_claims.MAX_LENGTH + 1),
    ],
)
def test_what_is_no_jwt_is_refused_without_being_quoted(text: str) -> None:
    """Anything else than a signed JWT is an InvalidCredentialError that shows nothing of it."""
    with pytest.raises(InvalidCredentialError, match="no JWT") as caught:
        jwt_claims.unverified_claims(text)
    error = caught.value
    assert CANARY not in str(error)
    assert error.__context__ is None


@pytest.mark.parametrize(
    "tail", ["\0", " ", "\ud800", "c2lnn", "c2+n", "c2/n", "c2ln=", "é", "c2 ln"]
)
def test_a_signature_that_cannot_be_one_is_refused(tail: str) -> None:
    """What stands in the place of the signature is base64url of whole bytes."""
    text = f"{encoded({'alg': 'RS256'})}.{encoded({'sub': CANARY})}.{tail}"
    with pytest.raises(InvalidCredentialError, match="its signature is not base64url"):
        jwt_claims.unverified_claims(text)
    assert jwt_claims.is_jwt(text)


def test_an_unsigned_token_is_read() -> None:
    """Whether to take tokens without a signature is for the broker to say."""
    text = f"{encoded({'alg': 'none'})}.{encoded({'sub': 'x'})}."
    assert jwt_claims.unverified_claims(text) == {"sub": "x"}


@pytest.mark.parametrize(
    "header", ['{"alg":"RS256"}', '{ "alg":"RS256"}', '{\n  "alg": "RS256"\n}']
)
def test_a_jwt_is_told_from_an_opaque_token(header: str) -> None:
    """Whichever way its header is written, and however much of it is there."""
    text = token({"sub": "x"}, header)
    for meant in (text, text[:-1], text[: text.rindex(".")], text[: text.index(".")], text[:14]):
        assert jwt_claims.is_jwt(Secret(meant)), meant
    for opaque in ("an.opaque.token", "", "..", "e.w.o", "ey", "x" * 70_000, "é.é.é", encoded({})):
        assert not jwt_claims.is_jwt(opaque), opaque


@given(st.text() | st.binary().map(lambda value: value.decode("latin-1")))
def test_no_input_breaks_the_reader(text: str) -> None:
    """Whatever comes in, only InvalidCredentialError comes out."""
    with pytest.raises(InvalidCredentialError):
        jwt_claims.unverified_claims(f"{text}.{text}.{text}")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_no_claim_breaks_the_times(value: object) -> None:
    """Whatever a claim holds, there is a time within reason, none, or InvalidCredentialError."""
    claims = {"exp": value, "iat": value, "nbf": value, "sub": value}
    for read in (jwt_claims.issued_at, jwt_claims.not_before, jwt_claims.expiry):
        try:
            moment = read(claims)
        except InvalidCredentialError:
            assert read is jwt_claims.expiry
        else:
            assert moment is None or 1970 <= moment.year <= 9999
    assert jwt_claims.subject(claims) in (None, value)


def test_fractions_of_a_second_count() -> None:
    """A float is a legal NumericDate (RFC 7519, 2)."""
    moment = jwt_claims.expiry({"exp": 1_000_000_000.5})
    assert moment == datetime(2001, 9, 9, 1, 46, 40, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "absurd",
    [-1, 0, float("nan"), float("inf"), 253_402_300_800, 1_700_000_000_000, "1700000000", True, []],
)
def test_an_absurd_expiry_is_refused(absurd: object) -> None:
    """An expiry that nobody can mean makes the token unusable; milliseconds are among them."""
    with pytest.raises(InvalidCredentialError, match="exp"):
        jwt_claims.expiry({"exp": absurd})


@pytest.mark.parametrize("absurd", [-1, float("nan"), "1700000000", 10**400, None])
def test_an_absurd_start_is_ignored(absurd: object) -> None:
    """The start of a token is only for display and proportion, so nonsense counts as absent."""
    assert jwt_claims.issued_at({"iat": absurd}) is None
    assert jwt_claims.not_before({"nbf": absurd}) is None


def test_absent_claims_are_none() -> None:
    """A token may say nothing."""
    assert jwt_claims.expiry({}) is None
    assert jwt_claims.issued_at({}) is None
    assert jwt_claims.subject({"sub": 7}) is None
