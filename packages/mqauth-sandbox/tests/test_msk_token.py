"""Tokens for Amazon MSK: what AWS's own signer makes is accepted, and nothing else."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider as Signer
from botocore.credentials import CredentialProvider, Credentials

from mqauth_sandbox.accesskeys import AccessKey, Caller, KeyRing
from mqauth_sandbox.msk_token import MskTokenError, check_msk_token

REGION = "eu-west-1"
ARN = "arn:aws:iam::123456789012:user/operator"
KEY = AccessKey(
    access_key_id="AKIAEXAMPLE",
    secret_access_key="secret/+=",
    session_token="token/+= %",
    expires_at=time.time() + 86400,  # long after this module was read, as a run takes its time
    caller=Caller(account="123456789012", arn=ARN, user_id="AIDA", principal_arn=ARN),
)


class Given(CredentialProvider):
    """Gives the signer the key."""

    def load(self) -> Credentials:
        """Return it."""
        return Credentials(KEY.access_key_id, KEY.secret_access_key, KEY.session_token)


def signed(region: str = REGION) -> str:
    """Return a token of AWS's own signer."""
    token, _ = Signer.generate_auth_token_from_credentials_provider(region, Given())
    return str(token)


def url_of(token: str) -> str:
    """Return the URL in a token."""
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()


def token_of(url: str) -> str:
    """Return the token of a URL."""
    return base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def check(token: str, *, later: float = 0.0, region: str = REGION) -> str:
    """Return whose token it is."""
    ring = KeyRing()
    ring.add(KEY)
    return check_msk_token(token, region=region, now=time.time() + later, find_key=ring.find).arn


def test_the_signers_token_is_accepted() -> None:
    """It is its key's until it ends."""
    token = signed()
    assert check(token) == ARN
    assert check(token, later=890) == ARN
    with pytest.raises(MskTokenError, match="expired"):
        check(token, later=901)


def test_the_java_signers_form_is_accepted() -> None:
    """It leaves the slash of the path out, and names itself otherwise; both are not signed."""
    url = url_of(signed())
    before, _, _ = url.replace(".com/?", ".com?").partition("&User-Agent=")
    agent = quote("aws-msk-iam-auth/2.3.5/aws-sdk-java/2.36.3 os/Linux lang/java#17.0.15", safe="")
    assert check(token_of(f"{before}&User-Agent={agent}")) == ARN
    for other in ("aws-msk-iam-auth", "curl/8.0", agent.replace("-auth", "-none")):
        with pytest.raises(MskTokenError, match="user agent"):
            check(token_of(f"{before}&User-Agent={other}"))


def test_it_ends_with_the_key_behind_it() -> None:
    """A token of a session does not outlive that."""
    key = AccessKey(
        access_key_id=KEY.access_key_id,
        secret_access_key=KEY.secret_access_key,
        session_token=KEY.session_token,
        expires_at=time.time() + 60,
        caller=KEY.caller,
    )
    login = check_msk_token(signed(), region=REGION, now=time.time(), find_key=lambda *_: key)
    assert login.ends_at == key.expires_at


Change = Callable[[str], str]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda url: url.replace("kafka.eu-west-1", "kafka.eu-west-2"), "host"),
        (lambda url: url.replace("kafka.eu-west-1", "evil.eu-west-1"), "host"),
        (lambda url: url.replace("https:", "http:"), "scheme"),
        (lambda url: url.replace(".com/?", ".com/x?"), "path"),
        (lambda url: url.replace("Connect", "DeleteTopic"), "action"),
        (lambda url: url.replace("X-Amz-Expires=900", "X-Amz-Expires=901"), "good for 901"),
        (lambda url: url.replace("X-Amz-Expires=900", "X-Amz-Expires=899"), "signature"),
        (lambda url: url.replace("X-Amz-Expires=900", "X-Amz-Expires=-1"), "good for"),
        (lambda url: url.replace("AKIAEXAMPLE", "AKIAANOTHER"), "InvalidClientTokenId"),
        (lambda url: url.replace("%2Feu-west-1%2F", "%2Feu-west-2%2F"), "scope"),
        (lambda url: url.replace("%2Fkafka-cluster%2F", "%2Fs3%2F"), "scope"),
        (lambda url: url.replace("SignedHeaders=host", "SignedHeaders=host%3Bx"), "headers"),
        (lambda url: url.partition("&User-Agent")[0], "User-Agent"),
        (lambda url: url.replace("aws-msk-iam-sasl-signer", "curl"), "user agent"),
        (lambda url: url + "&X-Amz-Extra=1", "X-Amz-Extra"),
        (lambda url: url + "&Action=kafka-cluster%3AConnect", "twice"),
        (lambda url: url.replace(quote("token/+= %", safe=""), "other"), "InvalidClientTokenId"),
        (lambda url: url.replace("X-Amz-Signature=", "X-Amz-Signature=0"), "signature"),
        (lambda url: url.replace("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=x"), "algo"),
    ],
)
def test_nothing_else_is(change: Change, why: str) -> None:
    """Each change of the URL is noticed."""
    url = url_of(signed())
    changed = change(url)
    assert changed != url
    with pytest.raises(MskTokenError, match=why):
        check(token_of(changed))


@pytest.mark.parametrize("token", ["", "=", "a b", "####", "AA==", "/w", "a" * 5])
def test_garbage_is_refused(token: str) -> None:
    """What is no base64url of a URL is refused, not an error of another kind."""
    with pytest.raises(MskTokenError):
        check(token)


def test_a_token_from_the_future_is_refused() -> None:
    """A client whose clock is ten minutes fast is told so."""
    with pytest.raises(MskTokenError, match="future"):
        check(signed(), later=-600)
