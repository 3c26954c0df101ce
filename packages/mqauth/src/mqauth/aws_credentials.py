"""AWS credentials, and the seam for packages that bring a way of their own to get them.

A package registers an `AwsIdentityFactory` under the entry-point group `mqauth.aws_credentials`, by
the name of the way: `roles-anywhere` takes a `RolesAnywhereIdentity`. The core loads it only when
options name such an identity, so that it depends on no such package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Protocol

from mqauth.secret import REDACTED, Secret

GROUP = "mqauth.aws_credentials"
ROLES_ANYWHERE = "roles-anywhere"

_SECRET_PARTS = re.compile(r"(?<=pin-value=)[^&'\"]*|(?<=://)[^/@'\"]*(?=@)")
"""A PIN in a PKCS#11 URI, and the user of a URL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AwsCredentials:
    """AWS credentials that sign requests.

    Args:
        access_key_id: Name of the key.
        secret_key: The key.
        session_token: What belongs to a session's key.
        expires_at: End of the session on AWS's clock, as far as it is known.
    """

    access_key_id: str
    secret_key: Secret
    session_token: Secret | None = None
    expires_at: datetime | None = None

    @property
    def secrets(self) -> list[Secret]:
        """What must not show in an error message."""
        return [self.secret_key, *([self.session_token] if self.session_token else [])]


@dataclass(frozen=True, kw_only=True, slots=True)
class RolesAnywhereIdentity:
    """What IAM Roles Anywhere opens a session for.

    Args:
        certificate: The file of the certificate, or its PKCS#11 URI.
        private_key: The same of its key; None if the certificate's file holds it.
        key_password: What opens the key, if it is encrypted.
        intermediates: The file of what lies between the certificate and the trust anchor.
        trust_anchor_arn: ARN of the trust anchor.
        profile_arn: ARN of the Roles Anywhere profile.
        role_arn: ARN of the role that the session is of.
        session_duration: Seconds that the session is to last.
        endpoint_url: Another URL for the service; None for the one that AWS's own variables name,
            or the region's.
        ca_file: A PEM file of the authorities that sign the service's certificate; None for those
            that AWS SDKs trust.
    """

    certificate: str
    private_key: str | None = None
    key_password: Secret | None = None
    intermediates: str | None = None
    trust_anchor_arn: str
    profile_arn: str
    role_arn: str
    session_duration: int = 3600
    endpoint_url: str | None = None
    ca_file: str | None = None

    def __repr__(self) -> str:
        """Show everything but passwords, such as the PIN that a PKCS#11 URI may give."""
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        text = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        return f"{type(self).__name__}({_SECRET_PARTS.sub(REDACTED, text)})"

    @property
    def region(self) -> str:
        """The region of the trust anchor."""
        return self.trust_anchor_arn.split(":")[3]


class AwsIdentity(Protocol):
    """Keeps AWS credentials in memory and renews them ahead of their end."""

    def credentials(self, *, timeout: float, lasting: float) -> AwsCredentials:
        """Return credentials that have not run out.

        Args:
            timeout: Seconds that it may take.
            lasting: Seconds that they are to last at least, if sessions can be that long.

        Raises:
            CredentialError: There are none to be had; `retryable` says whether later may help.
            ConfigurationError: The identity cannot work as it is written.
        """
        ...

    def inspect(self) -> str:
        """Return what certificate and key are like; nobody is asked.

        Raises:
            InvalidCredentialError: They cannot be used as they are.
            ConfigurationError: The identity cannot work as it is written.
        """
        ...

    def forget(self) -> None:
        """Open a new session next time: AWS has refused the one at hand."""
        ...


class AwsIdentityFactory(Protocol):
    """What stands behind the entry point `roles-anywhere`."""

    def __call__(self, identity: RolesAnywhereIdentity) -> AwsIdentity:
        """Return the identity; nothing is read or asked yet."""
        ...
