"""Roles beside the endpoint's own: those of a chain, each of which trusts the one before."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """A role of the account and its trust policy.

    Args:
        name: Its name.
        arn: Its ARN.
        unique_id: Its identifier, which starts with `AROA`.
        trusts: ARN of the one user or role that may assume it; None for everybody in the account.
        external_id: What has to come with `AssumeRole`; None if nothing has to.
    """

    name: str
    arn: str
    unique_id: str
    trusts: str | None = None
    external_id: str | None = None

    def admits(self, principal_arn: str, external_id: str | None) -> bool:
        """Return whether the trust policy lets this principal assume the role."""
        return self.trusts in (None, principal_arn) and self.external_id in (None, external_id)
