"""The roles that aws-iam assumes: one session for many tokens, replaced in time, and chains."""

from __future__ import annotations

from mqauth.errors import CredentialExpiredError, InvalidCredentialError, IssuerRefusedError
from mqauth.jwt_claims import unverified_claims
from mqauth_sandbox.sts import StsEndpoint
from packages.mqauth.tests.aws_iam.building import Build, actions, failure


def test_a_roles_session_near_its_end_is_replaced(caller: Build, sts: StsEndpoint) -> None:
    """A session that ends within the margin after the next token is not used again."""
    sts.session_lifetime = 350
    provider = caller(role_arn=sts.role_arn, duration=300)
    for _ in range(2):
        assert provider.fetch(timeout=10).remaining() > 290
    assert actions(sts) == ["AssumeRole", "GetWebIdentityToken"] * 2


def test_a_token_ends_before_its_session(caller: Build, sts: StsEndpoint) -> None:
    """Where the session is shorter than the token would be, the token is asked for shorter."""
    sts.session_lifetime = 100
    credentials = caller(role_arn=sts.role_arn, duration=300).fetch(timeout=10)
    assert 85 < credentials.remaining() < 100
    assert actions(sts) == ["AssumeRole", "GetWebIdentityToken"]


def test_a_session_shorter_than_any_token(caller: Build, sts: StsEndpoint) -> None:
    """Where nothing fits any more, the error says that the credentials behind end first."""
    sts.session_lifetime = 30
    error = failure(caller(role_arn=sts.role_arn))
    assert isinstance(error, CredentialExpiredError)
    assert "sooner than the shortest token" in str(error)


def test_an_expired_role_session_is_replaced(caller: Build, sts: StsEndpoint) -> None:
    """A session that AWS takes for expired costs one more attempt, not an error."""
    sts.session_lifetime = 400
    provider = caller(role_arn=sts.role_arn, duration=60)
    provider.fetch(timeout=10)
    sts.faults.clock_skew = 600
    assert provider.fetch(timeout=10).remaining() > 50
    assert actions(sts) == [
        "AssumeRole",
        "GetWebIdentityToken",
        "GetWebIdentityToken ExpiredToken",
        "AssumeRole",
        "GetWebIdentityToken",
    ]


def test_another_process_starts_afresh(caller: Build, sts: StsEndpoint) -> None:
    """A forked child takes nothing over that a thread of its parent may hold locked."""
    provider = caller(role_arn=sts.role_arn)
    provider.fetch(timeout=10)
    provider._process = -1  # type: ignore[attr-defined]
    provider.fetch(timeout=10)
    assert actions(sts) == ["AssumeRole", "GetWebIdentityToken"] * 2


def test_a_chain_of_roles(caller: Build, sts: StsEndpoint) -> None:
    """Each role is assumed by the one before it, once for all tokens; the last signs them."""
    broker = sts.add_role("Broker", trusts=sts.role_arn)
    provider = caller(role_arn=f"{sts.role_arn},{broker}", duration=60)
    assert {provider.fetch(timeout=10).principal for _ in range(2)} == {broker}
    assert actions(sts) == ["AssumeRole"] * 2 + ["GetWebIdentityToken"] * 2
    assert isinstance(failure(caller(role_arn=[broker])), IssuerRefusedError)


def test_an_external_id_reaches_each_role_of_a_chain(caller: Build, sts: StsEndpoint) -> None:
    """A role of somebody else's account asks for its external id, wherever it is in the chain."""
    broker = sts.add_role("Broker", trusts=sts.role_arn, external_id="tenant-7")
    chain = [sts.role_arn, broker]
    assert caller(role_arn=chain, external_id="tenant-7").fetch(timeout=10).principal == broker
    error = failure(caller(role_arn=chain, external_id="tenant-8"))
    assert isinstance(error, IssuerRefusedError)
    assert "trust policy" in str(error.remedy)


def test_a_comma_in_the_name_of_a_role(caller: Build, sts: StsEndpoint) -> None:
    """IAM allows a comma in a role's name, which is not the one between two roles."""
    odd = sts.add_role("eu,west", trusts=sts.user_arn)
    broker = sts.add_role("Broker", trusts=odd)
    assert caller(role_arn=f"{odd}, {broker}").fetch(timeout=10).principal == broker


def test_session_tags_are_those_of_the_last_role(caller: Build, sts: StsEndpoint) -> None:
    """The token repeats the tags of the session that signs for it, which needs sts:TagSession."""
    broker = sts.add_role("Broker", trusts=sts.role_arn)
    options = {"role_arn": [sts.role_arn, broker], "session_tags": "team=jobs"}
    claims = unverified_claims(caller(**options).fetch(timeout=10).password)
    assert claims["https://sts.amazonaws.com/"]["principal_tags"] == {"team": "jobs"}
    sts.denied_actions = {"sts:TagSession"}
    error = failure(caller(**options))
    assert "sts:TagSession" in str(error)
    assert "sts:TagSession" in str(error.remedy)


def test_the_longest_token_of_a_chain_fits_its_session(caller: Build, sts: StsEndpoint) -> None:
    """A chained session lasts an hour at most, so a token of an hour is made a little shorter."""
    broker = sts.add_role("Broker", trusts=sts.role_arn)
    provider = caller(role_arn=[sts.role_arn, broker], duration=3600)
    assert 3580 <= provider.fetch(timeout=10).remaining() <= 3595
    assert "GetWebIdentityToken" in actions(sts)


def test_an_answer_without_credentials(caller: Build, sts: StsEndpoint) -> None:
    """An answer to AssumeRole that holds no credentials is no usable answer."""
    sts.empty_sessions = True
    error = failure(caller(role_arn=sts.role_arn))
    assert isinstance(error, InvalidCredentialError)
    assert "without credentials" in str(error)
