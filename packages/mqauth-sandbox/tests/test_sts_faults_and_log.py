"""What a test switches and sees of the STS endpoint: faults, calls, and no secret."""

from __future__ import annotations

import logging
import time

import pytest
from botocore.config import Config
from botocore.exceptions import HTTPClientError

from mqauth_sandbox.sts import StsEndpoint
from sts_sdk import Sdk, ask_token, refused, verified


def test_throttling_is_what_the_sdk_takes_for_it(sts: StsEndpoint, sdk: Sdk) -> None:
    """The SDK sees `Throttling` and retries it by itself."""
    sts.faults.mode = "throttle"
    assert refused(sdk.client().get_caller_identity)[:2] == ("Throttling", 400)
    retrying = sdk.client(config=Config(retries={"total_max_attempts": 2, "mode": "standard"}))
    refused(retrying.get_caller_identity)
    assert [call.outcome for call in sts.calls] == ["throttle"] * 3


def test_an_internal_error_is_aws_own(sts: StsEndpoint, sdk: Sdk) -> None:
    """`error500` is AWS's InternalFailure."""
    sts.faults.mode = "error500"
    assert refused(sdk.client().get_caller_identity)[:2] == ("InternalFailure", 500)


def test_the_sdk_sees_an_endpoint_that_is_down(sts: StsEndpoint, sdk: Sdk) -> None:
    """`down` is a failed connection to the SDK."""
    sts.faults.mode = "down"
    with pytest.raises(HTTPClientError):
        sdk.client().get_caller_identity()


def test_tokens_can_be_bad(sts: StsEndpoint, sdk: Sdk) -> None:
    """`not_jwt` and `expired` spoil web identity tokens and leave sessions alone."""
    client = sdk.client()
    with sts.faults.during("not_jwt"):
        assert "." not in ask_token(client)["WebIdentityToken"]
    with sts.faults.during("expired"):
        assert sdk.client(sdk.session()).get_caller_identity()
        before = int(time.time())
        answer = ask_token(client)
    claims = verified(sdk, answer["WebIdentityToken"])
    assert before - 60 <= claims["exp"] <= time.time() - 60
    assert answer["Expiration"].timestamp() == claims["exp"]
    assert sts.fetches == 0


def test_calls_are_counted(sts: StsEndpoint, sdk: Sdk) -> None:
    """The log names each action and how it ended, and only tokens count as fetches."""
    client = sdk.client(sdk.session())
    ask_token(client)
    refused(ask_token, client=client, DurationSeconds=1)
    client.get_caller_identity()
    assert [(call.action, call.outcome) for call in sts.calls] == [
        ("AssumeRole", "ok"),
        ("GetWebIdentityToken", "ok"),
        ("GetWebIdentityToken", "ValidationError"),
        ("GetCallerIdentity", "ok"),
    ]
    assert (sts.fetches, sts.requests) == (1, 4)
    assert sts.wait_for_fetches(1, timeout=0)


def test_secrets_stay_out_of_sight(
    sts: StsEndpoint, sdk: Sdk, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the sandbox's log at DEBUG nor any repr shows a key, a session or a token."""
    caplog.set_level(logging.DEBUG, logger="mqauth_sandbox")
    session = sdk.session()
    token = ask_token(sdk.client(session))["WebIdentityToken"]
    keys = sts._ring._keys.values()
    seen = caplog.text + repr(sts) + repr(sts.calls) + repr(list(keys))
    assert "POST / -> 200" in seen
    for secret in (
        sts.secret_access_key,
        session["SecretAccessKey"],
        session["SessionToken"],
        token,
    ):
        assert secret not in seen
