"""What a token of aws-iam says, how long it is good, and whose it is."""

from __future__ import annotations

import pytest

from mqauth.jwt_claims import unverified_claims, unverified_header
from mqauth_sandbox.sts import StsEndpoint
from packages.mqauth.tests.aws_iam.building import CANARY, Build, actions


def test_a_token_for_the_caller(caller: Build, sts: StsEndpoint) -> None:
    """Without a role, the caller's own identity gets the token."""
    credentials = caller().fetch(timeout=10)
    claims = unverified_claims(credentials.password)
    assert claims["iss"] == sts.issuer_url
    assert claims["aud"] in ("rabbitmq", ["rabbitmq"])
    assert credentials.username == ""
    assert credentials.principal == sts.user_arn
    assert credentials.expires_at is not None
    assert credentials.expires_at.timestamp() == pytest.approx(claims["exp"], abs=1)
    assert 285 <= credentials.remaining() <= 300
    assert credentials.clock_skew == 0.0
    assert actions(sts) == ["GetWebIdentityToken"]


def test_a_token_for_a_role(caller: Build, sts: StsEndpoint) -> None:
    """The role's session is kept: each further token is one call."""
    sts.external_id = "outside"
    provider = caller(role_arn=sts.role_arn, external_id="outside", role_session_name="worker")
    tokens = [provider.fetch(timeout=10) for _ in range(3)]
    assert {token.principal for token in tokens} == {sts.role_arn}
    assert len({token.password for token in tokens}) == 3
    assert actions(sts) == ["AssumeRole", *["GetWebIdentityToken"] * 3]


def test_what_the_token_says(caller: Build) -> None:
    """Audiences, algorithm, life and tags are passed on."""
    provider = caller(
        audience="rabbitmq,other",
        signing_algorithm="RS256",
        duration="120",
        tags={"scope": "rabbitmq/tag:administrator"},
        username="me",
    )
    credentials = provider.fetch(timeout=10)
    claims = unverified_claims(credentials.password)
    assert claims["aud"] == ["rabbitmq", "other"]
    assert claims["https://sts.amazonaws.com/"]["request_tags"] == {
        "scope": "rabbitmq/tag:administrator"
    }
    assert 105 <= credentials.remaining() <= 120
    assert credentials.username == "me"


@pytest.mark.parametrize("skew", [-120.0, 120.0])
def test_the_clock_of_aws_is_noticed(caller: Build, sts: StsEndpoint, skew: float) -> None:
    """A token is good for its life on this host's clock, whatever AWS's says."""
    sts.faults.clock_skew = skew
    credentials = caller(role_arn=sts.role_arn).fetch(timeout=10)
    assert credentials.clock_skew == pytest.approx(skew, abs=10)
    assert credentials.remaining() == pytest.approx(300, abs=15)


def test_the_identity_tells_whose_credentials(
    caller: Build, sts: StsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other roles, profiles or keys in the environment are other identities, secrets are none."""
    mine = caller().identity
    assert caller(role_arn=sts.role_arn).identity != mine
    assert caller(profile="other").identity != mine
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    assert caller().identity == mine
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    assert caller().identity != mine
    assert caller().shareable


@pytest.mark.parametrize("duration", [60, 3600])
@pytest.mark.parametrize("algorithm", ["ES384", "RS256"])
def test_algorithms_and_durations(
    caller: Build, sts: StsEndpoint, algorithm: str, duration: int
) -> None:
    """Both algorithms sign tokens of the shortest and of the longest life that STS grants."""
    options = {"signing_algorithm": algorithm, "duration": duration}
    credentials = caller(**options).fetch(timeout=10)
    assert unverified_header(credentials.password)["alg"] == algorithm
    assert duration - 15 <= credentials.remaining() <= duration
