"""The aws-msk-iam provider against AWS's signer and a strict judge of tokens."""

from __future__ import annotations

import base64
import os
import random
import re
import string
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider as Signer
from botocore.credentials import CredentialProvider, Credentials

from mqauth import amazonmsk
from mqauth.aws_credentials import AwsCredentials
from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import ConfigurationError, CredentialExpiredError, IssuerRefusedError
from mqauth.links import Linked
from mqauth.provider import Provider
from mqauth.providers import _msk_tokens
from mqauth.secret import Secret
from mqauth_sandbox import StsEndpoint
from mqauth_sandbox.accesskeys import AccessKey, Caller
from mqauth_sandbox.msk_token import MskLogin, check_msk_token

CASES = 1000
REGIONS = ("eu-west-1", "us-east-2", "ap-southeast-4", "us-gov-west-1", "me-central-1")
ALPHABET = string.ascii_letters + string.digits + "/+="

Make = Callable[..., Provider]


@pytest.fixture
def sts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StsEndpoint]:
    """The account's STS."""
    from mqauth_sandbox.tls import create_certificates  # noqa: PLC0415 - only here

    files = create_certificates(tmp_path_factory.mktemp("tls"))
    with (
        StsEndpoint(certificate=files.certificate_file, private_key=files.key_file) as endpoint,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in list(os.environ):
            if name.startswith(("AWS_", "MQAUTH_")):
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", endpoint.access_key_id)
        patch.setenv("AWS_SECRET_ACCESS_KEY", endpoint.secret_access_key)
        patch.setenv("AWS_ENDPOINT_URL_STS", endpoint.url)
        patch.setenv("AWS_CA_BUNDLE", str(files.ca_file))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield endpoint


def make(**options: Any) -> Provider:
    """Build the provider as a source does."""
    given = {"region": "eu-west-1", **options}
    found = resolve("aws-msk-iam", explicit={k: v for k, v in given.items() if v}, environ={})
    return provider_class("aws-msk-iam").from_options(found.options)


def judged(sts: StsEndpoint, token: Secret, region: str = "eu-west-1") -> MskLogin:
    """Return what the judge makes of a token."""
    return check_msk_token(token.reveal(), region=region, now=time.time(), find_key=sts.key_of)


def test_a_token_of_a_users_key(sts: StsEndpoint) -> None:
    """Nobody is asked; the token lasts 15 minutes, in seconds, and is the user's."""
    credentials = make().fetch(timeout=10)
    assert sts.calls == []
    assert judged(sts, credentials.password).arn == sts.user_arn
    assert credentials.username == ""
    assert credentials.lifetime == 900
    assert 880 < credentials.remaining() <= 900
    assert credentials.principal == sts.access_key_id


def test_a_token_of_an_assumed_role(sts: StsEndpoint) -> None:
    """The role is assumed once for several tokens, which are its own."""
    provider = make(role_arn=sts.role_arn, role_session_name="kafka")
    first, second = provider.fetch(timeout=10), provider.fetch(timeout=10)
    assert judged(sts, first.password).arn.endswith("/kafka")
    assert judged(sts, second.password).arn.endswith("/kafka")
    assert [call.action for call in sts.calls] == ["AssumeRole"]
    assert first.principal == sts.role_arn


def test_a_token_ends_with_the_session_behind_it(sts: StsEndpoint) -> None:
    """The signer says 15 minutes; a session of two is what counts, and the judge agrees."""
    sts.session_lifetime = 120
    credentials = make(role_arn=sts.role_arn).fetch(timeout=10)
    assert 100 < credentials.remaining() <= 120
    assert judged(sts, credentials.password).ends_at == pytest.approx(
        credentials.local_expiry, abs=2
    )


def test_a_session_that_ends_soon_is_replaced(sts: StsEndpoint) -> None:
    """A role is assumed anew when its session would end before the next token."""
    provider = make(role_arn=sts.role_arn)
    sts.session_lifetime = 120
    provider.fetch(timeout=10)
    sts.session_lifetime = None
    assert provider.fetch(timeout=10).remaining() > 880
    assert [call.action for call in sts.calls] == ["AssumeRole", "AssumeRole"]


def test_dead_credentials_are_not_signed_with(sts: StsEndpoint) -> None:
    """Credentials that have run out give an error, and no token that every broker refuses."""
    sts.session_lifetime = -5
    with pytest.raises(CredentialExpiredError, match="run out"):
        make(role_arn=sts.role_arn).fetch(timeout=10)


def test_a_role_that_may_not_be_assumed(sts: StsEndpoint) -> None:
    """AWS's refusal is passed on with its remedy."""
    with pytest.raises(IssuerRefusedError, match=r"AssumeRole.*AccessDenied"):
        make(role_arn="arn:aws:iam::123456789012:role/Other").fetch(timeout=10)


def test_no_credentials(sts: StsEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AWS credentials the error says where to name them."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match=r"no AWS credentials.*profile"):
        make().fetch(timeout=10)


def test_no_region(sts: StsEndpoint) -> None:
    """Without a region nothing is signed."""
    with pytest.raises(ConfigurationError, match=r"no AWS region.*MQAUTH_AWS_MSK_IAM_REGION"):
        make(region=None).fetch(timeout=10)


def test_the_region_is_signed_for(sts: StsEndpoint) -> None:
    """A token is for one region's clusters."""
    token = make(region="us-east-1").fetch(timeout=10).password
    assert judged(sts, token, "us-east-1").arn == sts.user_arn
    assert "kafka.us-east-1.amazonaws.com" in url_of(token.reveal())


def test_every_link_is_told(sts: StsEndpoint) -> None:
    """`mqauth doctor` goes from the credentials over the role to the token."""
    provider = make(role_arn=sts.role_arn)
    assert isinstance(provider, Linked)
    told = {link.name: link.look(10) for link in provider.links()}
    assert list(told) == ["AWS credentials", "role", "token"]
    assert told["token"].startswith(f"kafka-cluster:Connect signed for {sts.role_arn}, ")


def test_errors_name_this_provider(sts: StsEndpoint) -> None:
    """Options are checked under the name that the user wrote."""
    with pytest.raises(ConfigurationError, match="aws-msk-iam cannot work"):
        make(role_arn="nonsense")
    with pytest.raises(ConfigurationError, match="MQAUTH_AWS_MSK_IAM_ROLES_ANYWHERE_PROFILE_ARN"):
        make(roles_anywhere_certificate="x")
    with pytest.raises(ConfigurationError, match="audience"):
        make(audience="x")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("boot-abc.c2.kafka-serverless.eu-west-1.amazonaws.com", "eu-west-1"),
        ("b-1.demo.a1b2c3.c2.kafka.us-east-1.amazonaws.com", "us-east-1"),
        ("b-2-public.demo.a1b2c3.c2.kafka.ap-southeast-4.amazonaws.com.", "ap-southeast-4"),
        ("b-1.demo.x.c1.kafka.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("localhost,b-1.demo.x.c1.kafka.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("kafka.eu-west-1.amazonaws.com", None),
        ("b-1.kafka.eu-west-1.amazonaws.com.evil.example", None),
        ("b-1.mq.eu-west-1.amazonaws.com", None),
        ("localhost", None),
    ],
)
def test_a_host_tells_its_region(host: str, region: str | None) -> None:
    """Names of provisioned and of serverless clusters hold their region."""
    assert amazonmsk.region_from_host(host) == region


def test_a_thousand_tokens_agree_with_the_signer() -> None:
    """Whatever the keys, ours equals AWS's own up to the moment of signing, and is right."""
    chance = random.Random(7)  # noqa: S311 - test cases

    def text(length: int) -> str:
        return "".join(chance.choice(ALPHABET) for _ in range(length))

    for _ in range(CASES):
        region = chance.choice(REGIONS)
        key, secret = text(20).replace("/", "A"), text(40)
        session = text(chance.randrange(1, 1200)) if chance.random() < 0.7 else None
        before = time.monotonic()
        ours, ends = _msk_tokens.signed(
            AwsCredentials(
                access_key_id=key,
                secret_key=Secret(secret),
                session_token=Secret(session) if session else None,
            ),
            region,
        )
        theirs, theirs_end = Signer.generate_auth_token_from_credentials_provider(
            region, Fixed(Credentials(key, secret, session))
        )
        between = time.monotonic() - before
        assert timeless(url_of(ours.reveal())) == timeless(url_of(theirs))
        assert abs(ends - theirs_end / 1000) <= 1 + between
        known = AccessKey(
            access_key_id=key,
            secret_access_key=secret,
            session_token=session,
            caller=Caller(account="1", arn="a", user_id="u", principal_arn="a"),
        )
        found = check_msk_token(
            ours.reveal(), region=region, now=time.time(), find_key=lambda *_, k=known: k
        )
        assert found.ends_at == ends


class Fixed(CredentialProvider):
    """Gives AWS's signer credentials."""

    def __init__(self, credentials: Credentials) -> None:
        """Keep them."""
        super().__init__()
        self._credentials = credentials

    def load(self) -> Credentials:
        """Return them."""
        return self._credentials


def url_of(token: str) -> str:
    """Return the URL in a token."""
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()


def timeless(url: str) -> str:
    """Return a URL without what changes from second to second."""
    return re.sub(r"(X-Amz-Date=|X-Amz-Signature=)\w+", r"\1", url)
