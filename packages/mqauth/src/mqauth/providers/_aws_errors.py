"""What AWS's refusals and botocore's exceptions mean, and what to do about them."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore import exceptions as boto
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from mqauth.config.options import environment_name
from mqauth.errors import (
    ConfigurationError,
    CredentialExpiredError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth.providers._http_dates import retry_after
from mqauth.providers._text import clean
from mqauth.secret import Secret

STS = "AWS STS"


class NothingConfiguredError(boto.NoCredentialsError):
    """Neither credentials nor a region are known: both are told at once, not one a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Meaning:
    error: type[MQAuthError]
    said: str
    remedy: str


def _refused(remedy: str) -> _Meaning:
    return _Meaning(error=IssuerRefusedError, said="refused", remedy=remedy)


_THROTTLED = _Meaning(
    error=IssuerUnavailableError,
    said="is throttled",
    remedy="ask less often: set a longer duration, and let the processes of a host share a cache",
)
_UNAVAILABLE = _Meaning(
    error=IssuerUnavailableError,
    said="cannot serve now",
    remedy="see the AWS Health Dashboard",
)
_CLOCK = _Meaning(
    error=IssuerUnavailableError,
    said="refused the signature's time",
    remedy="set this host's clock (NTP): AWS tolerates 5 minutes",
)
_EXPIRED = _Meaning(
    error=CredentialExpiredError,
    said="found the AWS credentials expired",
    remedy="renew them where they come from, for example by aws sso login",
)
_MISCONFIGURED = _Meaning(
    error=ConfigurationError,
    said="does not take these options",
    remedy="correct the options; GetWebIdentityToken needs a regional endpoint",
)
_DENIED = _refused(
    "allow the action in the role's policy; with tags sts:TagGetWebIdentityToken, with "
    "session_tags sts:TagSession, too; a role's trust policy must name who assumes it"
)
_OTHERWISE_REFUSED = _refused("see what the AWS STS API reference says about this error")

_MEANINGS: Mapping[str, _Meaning] = {
    "Throttling": _THROTTLED,
    "ThrottlingException": _THROTTLED,
    "ThrottledException": _THROTTLED,
    "RequestThrottled": _THROTTLED,
    "RequestThrottledException": _THROTTLED,
    "RequestLimitExceeded": _THROTTLED,
    "TooManyRequestsException": _THROTTLED,
    "SlowDown": _THROTTLED,
    "InternalFailure": _UNAVAILABLE,
    "InternalError": _UNAVAILABLE,
    "ServiceUnavailable": _UNAVAILABLE,
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "SessionDurationEscalationException": _EXPIRED,
    "ValidationError": _MISCONFIGURED,
    "InvalidParameterValue": _MISCONFIGURED,
    "InvalidAction": _MISCONFIGURED,
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "OutboundWebIdentityFederationDisabledException": _refused(
        "enable it once per account: aws iam enable-outbound-web-identity-federation, or all of "
        "Amazon MQ's side: mqauth amazonmq setup"
    ),
    "InvalidClientTokenId": _refused("check the access key, and that it is active"),
    "UnrecognizedClientException": _refused("check the access key, and that it is active"),
    "SignatureDoesNotMatch": _refused("check the secret access key and the region"),
    "JWTPayloadSizeExceededException": _refused("set fewer or shorter tags"),
    "RegionDisabledException": _refused("enable the region for the account, or set another"),
}

_NETWORK_REMEDY = "check region, endpoint_url, proxies, name resolution and firewall"

# The text of an exception shows only where {text} stands: some quote whole answers, or what a
# credential process printed. The first that fits counts.
_EXCEPTIONS: tuple[
    tuple[tuple[type[Exception], ...], type[MQAuthError], str, str],
    ...,
] = (
    (
        (NothingConfiguredError,),
        ConfigurationError,
        "boto3 finds no AWS credentials, or only a part of them, and no AWS region is known",
        "set AWS_PROFILE or profile, and AWS_DEFAULT_REGION, {variable} or the option region",
    ),
    (
        (boto.NoCredentialsError, boto.PartialCredentialsError),
        ConfigurationError,
        "boto3 finds no AWS credentials, or only a part of them",
        "set AWS_PROFILE or the option profile; try aws sts get-caller-identity",
    ),
    (
        (boto.NoRegionError,),
        ConfigurationError,
        "no AWS region is known",
        "set the option region, {variable} or AWS_DEFAULT_REGION",
    ),
    (
        (boto.ProfileNotFound,),
        ConfigurationError,
        "{text}",
        "check the option profile and AWS_PROFILE against ~/.aws/config",
    ),
    (
        (boto.ParamValidationError, boto.InvalidRegionError, boto.ConfigParseError),
        ConfigurationError,
        "boto3 does not take these options: {text}",
        "correct them",
    ),
    (
        (boto.UnauthorizedSSOTokenError, boto.SSOError, boto.TokenRetrievalError),
        IssuerRefusedError,
        "the AWS single sign-on session has ended",
        "run aws sso login as this user",
    ),
    (
        (boto.CredentialRetrievalError, boto.MetadataRetrievalError),
        IssuerUnavailableError,
        "the AWS credentials could not be had where they come from",
        "check the credential process or metadata service with aws sts get-caller-identity",
    ),
    (
        (boto.SSLError,),
        IssuerUnavailableError,
        "the certificate of the AWS STS endpoint cannot be trusted",
        "name its authority with ca_file or AWS_CA_BUNDLE",
    ),
    (
        (boto.ConnectTimeoutError, boto.ReadTimeoutError),
        IssuerUnavailableError,
        "AWS STS did not answer in time",
        _NETWORK_REMEDY,
    ),
    (
        (boto.ProxyConnectionError,),
        IssuerUnavailableError,
        "the proxy on the way to AWS STS cannot be reached, or refuses",
        "check HTTPS_PROXY and NO_PROXY",
    ),
    (
        (boto.EndpointConnectionError,),
        IssuerUnavailableError,
        "AWS STS cannot be reached: {text}",
        _NETWORK_REMEDY,
    ),
    (
        (boto.HTTPClientError,),
        IssuerUnavailableError,
        "AWS STS cannot be reached",
        _NETWORK_REMEDY,
    ),
    (
        (ResponseParserError,),
        IssuerUnavailableError,
        "AWS STS gave an answer that is not its XML",
        "check endpoint_url, and that no login page or proxy answers in its place",
    ),
)


def error_code(error: ClientError) -> str:
    """Return AWS's error code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def translate(
    error: Exception,
    secrets: Iterable[Secret] = (),
    *,
    service: str = STS,
    provider: str = "aws-iam",
) -> MQAuthError:
    """Return the error of ours that an exception of boto3's means.

    Args:
        error: What came up.
        secrets: Values that must not show in the message.
        service: Which of AWS's services was asked.
        provider: Whose options are meant.
    """
    if isinstance(error, ClientError):
        return _answered(error, [secret.reveal() for secret in secrets], service)
    for types, make, message, remedy in _EXCEPTIONS:
        if isinstance(error, types):
            said = message.replace(STS, service).replace("{text}", clean(error))
            variable = environment_name(provider, "region")
            return make(said, remedy=remedy.replace("{variable}", variable))
    return IssuerUnavailableError(
        f"{service} could not be asked, or not understood ({_where(error)})",
        remedy="run aws sts get-caller-identity as this user to see more",
    )


def _answered(error: ClientError, hidden: list[str], service: str) -> MQAuthError:
    about = error.response.get("Error", {})
    code, text = error_code(error), clean(about.get("Message", ""), hidden)
    metadata: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    meaning = _meaning(code, int(metadata.get("HTTPStatusCode", 0)), text)
    return meaning.error(
        f"{service} {error.operation_name} {meaning.said}: {clean(code, hidden)}: {text}",
        remedy=meaning.remedy,
        retry_after=retry_after(metadata.get("HTTPHeaders", {})),
    )


def _meaning(code: str, status: int, text: str) -> _Meaning:
    if text.startswith(("Signature expired", "Signature not yet current")):
        return _CLOCK
    if code in _MEANINGS:
        return _MEANINGS[code]
    if status == 429:
        return _THROTTLED
    return _UNAVAILABLE if status >= 500 else _OTHERWISE_REFUSED


def _where(error: Exception) -> str:
    """Return class and place of an unforeseen exception; its text may hold anything."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
