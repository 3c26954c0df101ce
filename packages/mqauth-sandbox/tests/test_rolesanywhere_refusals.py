"""Each single fault in a request to the Roles Anywhere endpoint is refused as the service does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from rolesanywhere_calls import Call, encoded, refusal


def with_parameters(make: Callable[[Call], dict[str, Any]]) -> Callable[[Call], Call]:
    """Return a change of a call's parameters."""
    return lambda call: replace(call, parameters=make(call))


def with_headers(make: Callable[[Call], dict[str, str]]) -> Callable[[Call], Call]:
    """Return a change of a call's headers after it was signed."""
    return lambda call: replace(call, headers=make(call))


def with_scope(make: Callable[[Call], str]) -> Callable[[Call], Call]:
    """Return a change of the scope that a call is signed for."""
    return lambda call: replace(call, scope=make(call))


REFUSED: dict[str, tuple[Callable[[Call], Call], str, str]] = {
    "signature": (
        lambda c: replace(c, corrupt=lambda s: s[:-1] + bytes([s[-1] ^ 1])),
        "AccessDenied",
        "does not match",
    ),
    "digest": (lambda c: replace(c, digest=hashes.SHA384()), "AccessDenied", "does not match"),
    "algorithm": (
        lambda c: replace(c, algorithm="AWS4-X509-RSA-SHA256"),
        "AccessDenied",
        "algorithm",
    ),
    "unknown-algorithm": (
        lambda c: replace(c, algorithm="AWS4-HMAC-SHA256"),
        "IncompleteSignature",
        "algorithm",
    ),
    "serial": (lambda c: replace(c, serial=1), "AccessDenied", "serial"),
    "old": (lambda c: replace(c, at=c.at - timedelta(seconds=310)), "AccessDenied", "expired"),
    "early": (
        lambda c: replace(c, at=c.at + timedelta(seconds=310)),
        "AccessDenied",
        "not yet current",
    ),
    "region": (
        with_scope(lambda c: f"{c.at:%Y%m%d}/eu-west-2/rolesanywhere/aws4_request"),
        "AccessDenied",
        "region",
    ),
    "service": (
        with_scope(lambda c: f"{c.at:%Y%m%d}/eu-west-1/sts/aws4_request"),
        "AccessDenied",
        "rolesanywhere",
    ),
    "day": (
        with_scope(lambda c: "20200101/eu-west-1/rolesanywhere/aws4_request"),
        "AccessDenied",
        "20200101",
    ),
    "unsigned-host": (lambda c: replace(c, unsigned=("host",)), "AccessDenied", "host"),
    "unsigned-chain": (
        lambda c: replace(c, unsigned=("x-amz-x509-chain",)),
        "AccessDenied",
        "x509-chain",
    ),
    "unsigned-type": (
        lambda c: replace(c, unsigned=("content-type",)),
        "AccessDenied",
        "content-type",
    ),
    "other-certificate": (
        with_headers(lambda c: {"X-Amz-X509": encoded(c.identity.chain[0])}),
        "AccessDenied",
        "serial",
    ),
    "no-certificate": (with_headers(lambda c: {"X-Amz-X509": "AAAA"}), "Validation", "certificate"),
    "no-authorization": (
        with_headers(lambda c: {"Authorization": ""}),
        "MissingAuthenticationToken",
        "Missing",
    ),
    "short-authorization": (
        with_headers(lambda c: {"Authorization": "AWS4-X509-RSA-SHA256 Credential=1/2"}),
        "IncompleteSignature",
        "SignedHeaders",
    ),
    "missing-intermediate": (
        lambda c: replace(c, drop_chain=True),
        "AccessDenied",
        "Untrusted signing certificate",
    ),
    "short": (with_parameters(lambda c: {"durationSeconds": 899}), "Validation", "900"),
    "long": (with_parameters(lambda c: {"durationSeconds": 43201}), "Validation", "43200"),
    "text-duration": (
        with_parameters(lambda c: {"durationSeconds": "900"}),
        "Validation",
        "whole number",
    ),
    "unknown-parameter": (
        with_parameters(lambda c: {"duration": 900}),
        "Validation",
        "Unknown parameters: duration",
    ),
    "no-role": (with_parameters(lambda c: {"roleArn": None}), "Validation", "roleArn"),
    "bad-arn": (
        with_parameters(lambda c: {"profileArn": "arn:aws:rolesanywhere"}),
        "Validation",
        "profileArn",
    ),
    "other-role": (
        with_parameters(lambda c: {"roleArn": f"{c.endpoint.role_arn}X"}),
        "AccessDenied",
        "Unable to assume role",
    ),
    "other-profile": (
        with_parameters(lambda c: {"profileArn": c.endpoint.profile_arn[:-12] + "0" * 12}),
        "ResourceNotFound",
        "Profile",
    ),
    "other-anchor": (
        with_parameters(lambda c: {"trustAnchorArn": c.endpoint.trust_anchor_arn[:-12] + "0" * 12}),
        "ResourceNotFound",
        "Trust anchor",
    ),
    "session-name": (
        with_parameters(lambda c: {"roleSessionName": "me"}),
        "AccessDenied",
        "Not authorized to set roleSessionName",
    ),
    "bad-session-name": (
        with_parameters(lambda c: {"roleSessionName": "m e"}),
        "Validation",
        "roleSessionName",
    ),
}
STATUS = {"Validation": 400, "IncompleteSignature": 400, "ResourceNotFound": 404}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_the_service_refuses(call: Call, case: str) -> None:
    """Each single fault in a request gets the service's code and a reason."""
    change, code, reason = REFUSED[case]
    status, found, message = refusal(change(call))
    assert (found, status) == (f"{code}Exception", STATUS.get(code, 403))
    assert reason in message
