"""The `apsaramq-rrsa` provider: ApsaraMQ for RabbitMQ with roles for service accounts (RRSA).

An OIDC token on disk becomes a session of a RAM role (`AssumeRoleWithOIDC`), and the session's key
a dynamic user name and password. See "Grant permissions to RabbitMQ clients by RRSA" in the
ApsaraMQ for RabbitMQ documentation.

The user name changes with every session, so a connection cannot take a newer one: transports
replace the connection.

Options:

- `role_arn`, `oidc_provider_arn`, `token_file`: what RRSA injects into a pod as
  `ALIBABA_CLOUD_ROLE_ARN`, `ALIBABA_CLOUD_OIDC_PROVIDER_ARN` and `ALIBABA_CLOUD_OIDC_TOKEN_FILE`
- `instance_id`: the broker instance; taken from the broker's host name where that tells it
- `region` (`ALIBABA_CLOUD_STS_REGION`), `vpc` (`ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED`),
  `endpoint_url`, `ca_file`: which STS endpoint, and who signs its certificate
- `role_session_name` (`ALIBABA_CLOUD_ROLE_SESSION_NAME`), `policy`, `duration` (900 to 43200
  seconds, 3600 by default): the session

Proxies are taken from `HTTPS_PROXY` and `NO_PROXY`.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, ClassVar, Self

from mqauth.credentials import BrokerCredentials
from mqauth.errors import ConfigurationError
from mqauth.provider import Option
from mqauth.providers._apsaramq_config import OPTIONS, PROVIDER, ApsaraConfig
from mqauth.providers._deadline import BoundedCalls, Deadline


class ApsaraMqRrsaProvider:
    """Fetches sessions of a RAM role and computes logins from them.

    Args:
        config: The checked options.
    """

    name: ClassVar[str] = PROVIDER
    options: ClassVar[tuple[Option, ...]] = OPTIONS
    shareable: ClassVar[bool] = True
    login_remedy: ClassVar[str] = (
        "check instance_id, that the instance uses RAM for its users, and that the role may use it"
    )
    """What to check when a broker refuses the login."""

    def __init__(self, config: ApsaraConfig) -> None:
        """Keep the options; nothing is asked yet."""
        self._config = config
        self._calls = BoundedCalls("Alibaba Cloud STS")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build the provider from validated options and what RRSA injects.

        Raises:
            ConfigurationError: They cannot work, or requests is not installed.
            InsecureTransportError: The token would cross the network in clear.
        """
        if find_spec("requests") is None:
            raise ConfigurationError(
                "requests is not installed", remedy='pip install "mqauth[alibaba]"'
            )
        return cls(ApsaraConfig.from_options(options))

    @property
    def identity(self) -> str:
        """The role's session, the instance and where STS is asked."""
        config = self._config
        decisive = "\0".join((config.endpoint, *config.parameters.values()))
        digest = hashlib.sha256(decisive.encode()).hexdigest()[:8]
        return (
            f"{self.name} {config.role_arn} as {config.role_session_name} by "
            f"{config.oidc_provider_arn} ({config.token_file}) on {config.instance_id} [{digest}]"
        )

    def prepare(self) -> None:
        """Load requests, which takes longer than everything else."""
        importlib.import_module("mqauth.providers._alibaba_sts")

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Assume the role.

        Raises:
            IssuerUnavailableError: STS did not answer usefully, or there is no token file yet.
            IssuerRefusedError: STS refuses; the message says what to change.
            CredentialExpiredError: The token in the file has expired.
            InvalidCredentialError: The file or the answer holds nothing usable.
            ConfigurationError: This user may not read the token file.
        """
        # A process that takes its credential from the host's cache never gets here.
        sts = importlib.import_module("mqauth.providers._alibaba_sts")
        deadline = Deadline(timeout)
        credentials: BrokerCredentials = self._calls.run(
            deadline, lambda: sts.fetch(self._config, deadline, provider=self.name)
        )
        return credentials
