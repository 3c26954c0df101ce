"""What the refusals of Alibaba Cloud's STS mean, and what to do about each.

See "Error codes" of the API STS 2015-04-01, and "SDK errors" in the ACK documentation of RRSA.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import requests

from mqauth.errors import (
    CredentialExpiredError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth.providers._http_dates import retry_after
from mqauth.providers._text import clean
from mqauth.secret import Secret

_TOKEN = "AuthenticationFail.OIDCToken"  # noqa: S105 - the beginning of error codes
_RRSA = "enable RRSA for the cluster, then create the pods anew"
_TRUST = "check the issuer's URL and certificate fingerprints at the OIDC identity provider in RAM"

# Prefixes, the longest match counts.
_REMEDIES: Mapping[str, str] = {
    f"{_TOKEN}.Expired": "see why nothing renews the token file, and compare the clocks",
    f"{_TOKEN}.AudienceNotMatch": "have the token made for an audience that the OIDC identity "
    "provider lists as client id, usually sts.aliyuncs.com",
    f"{_TOKEN}.IssuerNotMatch": f"name the OIDC identity provider of this cluster; or {_RRSA}",
    f"{_TOKEN}.IssuerConfigurationBroken": f"STS must reach the issuer's keys: {_RRSA}",
    f"{_TOKEN}.HttpsUrlInvalid": _TRUST,
    f"{_TOKEN}.PublicKeyFingerprintMismatch": _TRUST,
    f"{_TOKEN}.InvalidSignature": "check that the token file comes from the issuer that is "
    "registered as OIDC identity provider",
    f"{_TOKEN}.Invalid": "check that the token file holds nothing but an OIDC token",
    _TOKEN: "check the token file and the OIDC identity provider in RAM",
    "AuthenticationFail.NoPermission": "let the role's trust policy allow this service account "
    f"(oidc:iss, oidc:aud, oidc:sub), and check oidc_provider_arn; or {_RRSA}",
    "EntityNotExist.Role": "check role_arn, or create the role",
    "EntityNotExist": "check role_arn and oidc_provider_arn",
    "InvalidParameter.DurationSeconds": "shorten duration, or raise the role's maximum session "
    "duration in RAM",
    "InvalidParameter.RoleSessionName": "correct role_session_name",
    "InvalidParameter.Policy": "correct the option policy",
    "InvalidParameter.RoleArn": "correct role_arn",
    "InvalidParameter.OIDCProviderArn": "correct oidc_provider_arn",
    "InvalidParameter.OIDCToken": "check that the token file holds nothing but an OIDC token",
    "InvalidParameter": "correct the options of the provider",
    "Missing": "correct the options of the provider",
    "InvalidTimeStamp": "set this host's clock",
    "InvalidAction": "check endpoint_url: only STS knows AssumeRoleWithOIDC",
    "InvalidVersion": "check endpoint_url: only STS knows AssumeRoleWithOIDC",
    "NoPermission": "let the role's trust policy allow the OIDC identity provider",
}
_TRANSIENT = ("Throttling", "ServiceUnavailable", "InternalError", "UnknownError", "RequestTimeout")
_TRANSIENT_STATUS = frozenset({408, 425, 429})
_CODE_IN_XML = re.compile(rb"<Code>\s*([A-Za-z0-9.]{1,80})\s*</Code>")


def refusal(
    response: requests.Response, content: Mapping[str, object] | None, secrets: Sequence[Secret]
) -> MQAuthError | None:
    """Return the error that an answer of STS means, or None if it is no error.

    Args:
        response: The answer, its body read.
        content: Its JSON object, if it is one.
        secrets: Values that must not show in a message.
    """
    hidden = [secret.reveal() for secret in secrets]
    code = _code(response, content, hidden)
    status = response.status_code
    if status < 400 and code is None:
        return None
    said = code or f"HTTP {status} {clean(response.reason, hidden)}"
    if content is not None and content.get("Message"):
        said += f": {clean(content['Message'], hidden)}"
    if status >= 500 or status in _TRANSIENT_STATUS or (code or "").startswith(_TRANSIENT):
        often = status == 429 or (code or "").startswith("Throttling")
        return IssuerUnavailableError(
            f"Alibaba Cloud STS cannot serve now: {said}",
            remedy="ask less often: share credentials on the host" if often else "try again later",
            retry_after=retry_after(response.headers),
        )
    message = f"Alibaba Cloud STS refused: {said}"
    # The file of an expired token may be written anew, and STS may get at the issuer's keys again.
    if code == f"{_TOKEN}.Expired":
        return CredentialExpiredError(message, remedy=_remedy(code))
    if code == f"{_TOKEN}.IssuerConfigurationBroken":
        return IssuerUnavailableError(message, remedy=_remedy(code))
    return IssuerRefusedError(message, remedy=_remedy(code))


def _code(
    response: requests.Response, content: Mapping[str, object] | None, hidden: Sequence[str]
) -> str | None:
    if content is not None:
        code = content.get("Code")
        return clean(code, hidden) if isinstance(code, str) and code else None
    found = _CODE_IN_XML.search(response.content)
    return found[1].decode() if found else None


def _remedy(code: str | None) -> str:
    known = [prefix for prefix in _REMEDIES if (code or "").startswith(prefix)]
    if not known:
        return (
            "check endpoint_url and what stands in front of it"
            if code is None
            else ("look the code up in the STS API's error codes")
        )
    return _REMEDIES[max(known, key=len)]
