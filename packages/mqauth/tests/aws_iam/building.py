"""Providers of aws-iam as a source builds them, what they ask of STS, and how they fail."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import MQAuthError
from mqauth.provider import Provider
from mqauth_sandbox.sts import StsEndpoint

CANARY = "canary-of-aws"

Build = Callable[..., Provider]


def build(**options: object) -> Provider:
    """Build the provider as a source does."""
    resolved = resolve("aws-iam", explicit=options, environ={})
    return provider_class("aws-iam").from_options(resolved.options)


def actions(sts: StsEndpoint) -> list[str]:
    """Return what the endpoint was asked, with anything that was not well."""
    return [
        str(call.action) + ("" if call.outcome == "ok" else f" {call.outcome}")
        for call in sts.calls
    ]


def failure(provider: Provider, timeout: float = 10) -> MQAuthError:
    """Return the error of a fetch that must fail, after checking what holds for all of them."""
    with pytest.raises(MQAuthError) as caught:
        provider.fetch(timeout=timeout)
    error = caught.value
    assert "\n" not in str(error)
    assert error.remedy
    assert error.__context__ is None
    assert "/site-packages/" not in "".join(traceback.format_exception(error))
    return error
