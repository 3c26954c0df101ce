"""Tokens for Amazon MSK: AWS's own signer makes them, of credentials whose end it does not know."""

from __future__ import annotations

import time
from collections.abc import Callable

from aws_msk_iam_sasl_signer import MSKAuthTokenProvider as Signer
from botocore.credentials import CredentialProvider, Credentials

from mqauth.aws_credentials import AwsCredentials
from mqauth.credentials import BrokerCredentials, utc_from_timestamp
from mqauth.errors import CredentialExpiredError
from mqauth.providers._deadline import Deadline
from mqauth.providers._quiet import quiet
from mqauth.providers._sts import StsTokens
from mqauth.secret import Secret

TOKEN_LIFE = 900
"""Seconds for which the signer makes a token good."""


class MskTokens(StsTokens):
    """Signs tokens on this host, with the session of a role where one is to be assumed."""

    def fetch(self, deadline: Deadline) -> BrokerCredentials:
        """Return a token as credential; it ends with the AWS credentials behind it.

        Raises:
            CredentialError: There are no AWS credentials to be had, or they have run out.
            ConfigurationError: There are no AWS credentials, or no region.
        """
        signer, region = self.role(deadline), self.region(deadline)
        left = self.left(signer)
        if left <= 0:
            raise CredentialExpiredError(
                "the AWS credentials have run out",
                remedy="renew them where they come from, for example by aws sso login",
            )
        token, ends = self._quietly(lambda: signed(signer, region))
        return BrokerCredentials(
            username="",
            password=token,
            issued_at=utc_from_timestamp(ends - TOKEN_LIFE),
            expires_at=utc_from_timestamp(min(ends, time.time() + left)),
            principal=self._named_principal or signer.access_key_id,
            provider=self._provider,
        )

    @property
    def _named_principal(self) -> str | None:
        config = self._config
        if config.role_arn:
            return config.role_arn[-1]
        return config.roles_anywhere.role_arn if config.roles_anywhere is not None else None


def signed(signer: AwsCredentials, region: str) -> tuple[Secret, float]:
    """Return a token and its end in POSIX seconds, by the clock of this host.

    Args:
        signer: The credentials to sign with.
        region: The region of the cluster.
    """
    with quiet():
        token, ends = Signer.generate_auth_token_from_credentials_provider(
            region, _OneCredential(lambda: signer)
        )
    return Secret(token), ends / 1000  # it counts in milliseconds


class _OneCredential(CredentialProvider):
    """What the signer takes credentials from."""

    def __init__(self, found: Callable[[], AwsCredentials]) -> None:
        super().__init__()
        self._found = found

    def load(self) -> Credentials:
        """Return the credentials."""
        found = self._found()
        token = found.session_token
        return Credentials(
            found.access_key_id, found.secret_key.reveal(), token.reveal() if token else None
        )
