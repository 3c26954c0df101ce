"""The `aws-iam` provider: Amazon MQ for RabbitMQ with IAM authentication.

AWS STS signs a short-lived JWT (`GetWebIdentityToken`), which is the password; the user name stays
empty. See "IAM authentication and authorization for Amazon MQ for RabbitMQ" in the Amazon MQ
developer guide. The account must have outbound web identity federation enabled.

Options:

- `region`: region of the STS endpoint; taken from the broker's host name where that tells it
- `role_arn`: a role to assume first, or several, each assumed by the one before (role chaining)
- `role_session_name`, `external_id`, `session_tags`: how to assume them
- `audience` (`rabbitmq`), `signing_algorithm` (`ES384` or `RS256`), `duration` (60 to 3600
  seconds, 300 by default), `tags`: what the token says
- `profile`: profile of the AWS configuration; else boto3 finds credentials by itself
- `roles_anywhere_...`: an IAM Roles Anywhere identity to start from instead, so that a certificate
  is all a host needs; the package credproc opens its sessions in this process
- `endpoint_url`, `ca_file`: another endpoint for STS, and who signs its certificate; boto3's own
  `AWS_ENDPOINT_URL_STS` and `AWS_CA_BUNDLE` work, too
- `username`: the user name at login; Amazon MQ wants it empty

Proxies are taken from `HTTPS_PROXY` and `NO_PROXY`, as boto3 does.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mqauth.aws_credentials import AwsCredentials, AwsIdentity
from mqauth.config.extras import require
from mqauth.credentials import BrokerCredentials
from mqauth.durations import duration
from mqauth.links import Link
from mqauth.provider import Option
from mqauth.providers import _roles_anywhere as roles_anywhere
from mqauth.providers._aws_config import OPTIONS, AwsIamConfig
from mqauth.providers._deadline import BoundedCalls, Deadline

if TYPE_CHECKING:
    from mqauth.providers._sts import StsTokens

# What decides in boto3 whose credentials are found, none of it secret.
_WHO = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "HOME",
)


class AwsIamProvider:
    """Fetches web identity tokens from AWS STS.

    Args:
        config: The checked options.
    """

    name: ClassVar[str] = "aws-iam"
    options: ClassVar[tuple[Option, ...]] = OPTIONS
    shareable: ClassVar[bool] = True

    def __init__(self, config: AwsIamConfig) -> None:
        """Keep the options; nothing is asked yet."""
        self._config = config
        self._calls = BoundedCalls("AWS STS")
        self._tokens: StsTokens | None = None
        self._aws_identity: AwsIdentity | None = None
        self._process = os.getpid()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build the provider from validated options.

        Raises:
            ConfigurationError: They cannot work, or boto3 (or credproc, for an identity of Roles
                Anywhere) is not installed.
        """
        require("boto3")
        config = AwsIamConfig.from_options(options)
        if config.roles_anywhere is not None:
            roles_anywhere.check_installed()
        return cls(config)

    @property
    def identity(self) -> str:
        """Who asks for a token, where, and for whom."""
        config = self._config
        who = " -> ".join(config.role_arn) or "the caller"
        if config.profile:
            who += f" by profile {config.profile}"
        where = config.region or "the default region"
        basis = _environment()
        if config.roles_anywhere is not None:
            who = f"{config.roles_anywhere.role_arn} -> {' -> '.join(config.role_arn)}"
            who = f"{who.removesuffix(' -> ')} by {config.roles_anywhere.certificate}"
            basis = roles_anywhere.fingerprint(config.roles_anywhere)
        return f"{self.name} {who} in {where}{self._purpose} [{basis}]"

    @property
    def _purpose(self) -> str:
        return f" for {','.join(self._config.audience)}"

    def prepare(self) -> None:
        """Load boto3, which takes longer than everything else."""
        importlib.import_module("mqauth.providers._sts")
        if self._config.roles_anywhere is not None:
            roles_anywhere.load_factory()

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Fetch a token, assuming the role first where one is configured.

        Raises:
            IssuerUnavailableError: STS, or where the AWS credentials come from, did not answer.
            IssuerRefusedError: AWS refuses; the message says what to allow.
            CredentialExpiredError: The AWS credentials have run out.
            InvalidCredentialError: The answer holds no usable token.
            ConfigurationError: There are no AWS credentials, or no region.
        """
        tokens = self._tokens_of_this_process()
        deadline = Deadline(timeout)
        return self._calls.run(deadline, lambda: tokens.fetch(deadline), abandoned=self._forget)

    def links(self) -> list[Link]:
        """Return what the token stands on; see `mqauth.links`."""
        chain = [Link(name="AWS credentials", look=self._look_at_caller)]
        if self._config.roles_anywhere is not None:
            chain.insert(0, Link(name="certificate", look=self._look_at_certificate))
        if self._config.role_arn:
            chain.append(Link(name="role", look=self._look_at_role))
        return [*chain, Link(name="token", look=self._look_at_token)]

    def _look_at_certificate(self, timeout: float) -> str:
        identity = self._identity_of_this_process()
        return "" if identity is None else self._calls.run(Deadline(timeout), identity.inspect)

    def _look_at_caller(self, timeout: float) -> str:
        tokens, deadline = self._tokens_of_this_process(), Deadline(timeout)
        found = self._calls.run(deadline, lambda: tokens.caller(deadline), abandoned=self._forget)
        named = self._config.roles_anywhere
        whose = f"CreateSession for {named.role_arn}" if named else f"key {found.access_key_id}"
        return f"{whose}, {_ending(found)}"

    def _look_at_role(self, timeout: float) -> str:
        tokens, deadline = self._tokens_of_this_process(), Deadline(timeout)
        found = self._calls.run(deadline, lambda: tokens.role(deadline), abandoned=self._forget)
        return f"AssumeRole of {' -> '.join(self._config.role_arn)}, {_ending(found)}"

    def _look_at_token(self, timeout: float) -> str:
        found = self.fetch(timeout=timeout)
        return f"GetWebIdentityToken for {found.principal}, {duration(found.remaining())} left"

    def _tokens_of_this_process(self) -> StsTokens:
        # In a forked child botocore's locks may be held by a thread that only the parent has.
        if self._tokens is None or self._process != os.getpid():
            # A process that takes its credential from the host's cache never gets here, and boto3
            # takes longer to load than everything else.
            if self._process != os.getpid():
                self._aws_identity = None
            self._tokens = self._new_tokens(self._identity_of_this_process())
            self._process = os.getpid()
        return self._tokens

    def _new_tokens(self, identity: AwsIdentity | None) -> StsTokens:
        from mqauth.providers._sts import StsTokens  # noqa: PLC0415 - as above

        return StsTokens(self._config, provider=self.name, identity=identity)

    def _identity_of_this_process(self) -> AwsIdentity | None:
        # Its session outlives calls to STS that hang and are given up.
        if self._aws_identity is None and self._config.roles_anywhere is not None:
            self._aws_identity = roles_anywhere.load_factory()(self._config.roles_anywhere)
        return self._aws_identity

    def _forget(self) -> None:
        # The abandoned call may hold botocore's locks for as long as it hangs.
        self._tokens = None


def _ending(credentials: AwsCredentials) -> str:
    if credentials.expires_at is None:
        return "end not known"
    return f"until {credentials.expires_at:%Y-%m-%d %H:%M:%S} UTC"


def _environment() -> str:
    """Return a fingerprint of what boto3 finds credentials by: it belongs to the identity."""
    text = "\0".join(f"{name}={os.environ.get(name, '')}" for name in _WHO)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
