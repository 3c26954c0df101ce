"""credproc's errors as mqauth's, for those who use it in process."""

from __future__ import annotations

import re

from credproc.errors import (
    AnswerError,
    CredprocError,
    IdentityError,
    RefusedError,
    UnavailableError,
    UsageError,
)
from mqauth.errors import (
    ConfigurationError,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)

_CLASSES: tuple[tuple[type[CredprocError], type[MQAuthError]], ...] = (
    (UsageError, ConfigurationError),
    # What writes the files may set them right at any time: they are read anew at each attempt.
    (IdentityError, InvalidCredentialError),
    (RefusedError, IssuerRefusedError),
    (UnavailableError, IssuerUnavailableError),
    (AnswerError, InvalidCredentialError),
)

_FLAG = re.compile(r"--([a-z][a-z0-9-]+)|\bCREDPROC_PKCS8_PASSWORD\b")
_OPTIONS = {
    "certificate": "roles_anywhere_certificate",
    "private-key": "roles_anywhere_private_key",
    "intermediates": "roles_anywhere_intermediates",
    "key-password-file": "roles_anywhere_key_password_file",
    "trust-anchor-arn": "roles_anywhere_trust_anchor_arn",
    "profile-arn": "roles_anywhere_profile_arn",
    "role-arn": "roles_anywhere_role_arn",
    "session-duration": "roles_anywhere_session_duration",
    "endpoint": "roles_anywhere_endpoint_url",
    "connect-timeout": "timeout",
    "read-timeout": "timeout",
    "time-limit": "timeout",
}
_MEANT_FOR_THE_COMMAND = re.compile(r"; behind a proxy, add --with-proxy|: leave the cache on")


def translate(error: CredprocError) -> MQAuthError:
    """Return the error of mqauth's that one of ours means, in terms of the provider's options."""
    kind: type[MQAuthError] = IssuerUnavailableError
    for ours, theirs in _CLASSES:
        if isinstance(error, ours):
            kind = theirs
            break
    translated = kind(
        f"no Roles Anywhere session: {_in_options(error.message)}",
        remedy=_in_options(_remedy(error)),
        retry_after=error.retry_after,
    )
    if isinstance(error, UnavailableError):
        translated.retryable = error.retryable
    return translated


def _remedy(error: CredprocError) -> str:
    if "needs a password" in error.message:
        return "give it as roles_anywhere_key_password_file"
    if "lives in a TPM" in error.message:
        return "let a profile's credential_process be credproc, and name the profile instead"
    return error.remedy or "see credproc doctor, given the same certificate and ARNs"


def _in_options(text: str) -> str:
    """Name the provider's option where the command's flag stands."""
    text = _MEANT_FOR_THE_COMMAND.sub("", text)
    return _FLAG.sub(lambda match: _OPTIONS.get(match[1] or "key-password-file", match[0]), text)
