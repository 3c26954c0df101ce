"""The `aws-msk-iam` provider: Amazon MSK (Kafka) with IAM access control, by OAUTHBEARER.

The token is a pre-signed `kafka-cluster:Connect` URL, which AWS's own signer library makes on this
host; see "IAM access control" in the Amazon MSK developer guide. It is good for 15 minutes, or for
as long as the AWS credentials behind it: the earlier end counts.

Options:

- `region`: region of the cluster; taken from the broker's host name where that tells it
- `role_arn`: a role to assume first, or several, each assumed by the one before (role chaining)
- `role_session_name`, `external_id`, `session_tags`: how to assume them
- `profile`: profile of the AWS configuration; else boto3 finds credentials by itself
- `roles_anywhere_...`: an IAM Roles Anywhere identity to start from instead, so that a certificate
  is all a host needs; the package credproc opens its sessions in this process
- `endpoint_url`, `ca_file`: another endpoint for STS, and who signs its certificate

Nobody is asked where the credentials are at hand. Proxies as for `aws-iam`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mqauth.aws_credentials import AwsIdentity
from mqauth.config.extras import require
from mqauth.durations import duration
from mqauth.provider import Option
from mqauth.providers import _roles_anywhere as roles_anywhere
from mqauth.providers._aws_config import OPTIONS, AwsIamConfig
from mqauth.providers.aws_iam import AwsIamProvider

if TYPE_CHECKING:
    from mqauth.providers._msk_tokens import MskTokens

_TOKEN_LIFE = 900
_OF_WEB_IDENTITY = frozenset({"audience", "signing_algorithm", "duration", "tags", "username"})


class AwsMskIamProvider(AwsIamProvider):
    """Signs tokens for Amazon MSK.

    Args:
        config: The checked options.
    """

    name: ClassVar[str] = "aws-msk-iam"
    options: ClassVar[tuple[Option, ...]] = tuple(
        option for option in OPTIONS if option.name not in _OF_WEB_IDENTITY
    )
    shareable: ClassVar[bool] = True

    login_remedy: ClassVar[str] = (
        "does the policy of this principal allow kafka-cluster:Connect, is the region the "
        "cluster's, and is this host's clock right?"
    )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build the provider from validated options.

        Raises:
            ConfigurationError: They cannot work, or AWS's signer (or credproc, for an identity of
                Roles Anywhere) is not installed.
        """
        require("boto3", "aws_msk_iam_sasl_signer")
        # What the credentials behind a token should last.
        config = AwsIamConfig.from_options({**options, "duration": _TOKEN_LIFE}, provider=cls.name)
        if config.roles_anywhere is not None:
            roles_anywhere.check_installed()
        return cls(config)

    def prepare(self) -> None:
        """Load boto3 and the signer, which takes longer than everything else."""
        importlib.import_module("mqauth.providers._msk_tokens")
        super().prepare()

    @property
    def _purpose(self) -> str:
        return ""

    def _look_at_token(self, timeout: float) -> str:
        found = self.fetch(timeout=timeout)
        left = duration(found.remaining())
        return f"kafka-cluster:Connect signed for {found.principal}, {left} left"

    def _new_tokens(self, identity: AwsIdentity | None) -> MskTokens:
        from mqauth.providers._msk_tokens import MskTokens  # noqa: PLC0415 - loads boto3

        return MskTokens(self._config, provider=self.name, identity=identity)
