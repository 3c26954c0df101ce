"""AWS credentials as boto3 finds them, and STS clients that sign with them."""

from __future__ import annotations

import functools
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import NoCredentialsError, NoRegionError, PartialCredentialsError
from botocore.loaders import Loader

from mqauth.aws_credentials import AwsCredentials, AwsIdentity
from mqauth.providers._aws_config import AwsIamConfig
from mqauth.providers._aws_errors import NothingConfiguredError
from mqauth.providers._aws_region import check_region, no_endpoint, sts_endpoint_of_environment
from mqauth.providers._ca_file import check_ca_variables
from mqauth.providers._deadline import Deadline
from mqauth.providers._urls import check_url
from mqauth.secret import Secret

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient


class AwsSession:
    """Finds credentials and makes clients.

    Args:
        config: The checked options of the provider.
        identity: Where the credentials come from, if not from where boto3 finds them.
    """

    def __init__(self, config: AwsIamConfig, identity: AwsIdentity | None = None) -> None:
        """Look nothing up yet."""
        self._config = config
        self._identity = identity
        self._session: boto3.Session | None = None

    def forget(self) -> None:
        """Look credentials up anew next time."""
        self._session = None
        if self._identity is not None:
            self._identity.forget()

    def signer(self, deadline: Deadline, *, lasting: float = 0.0) -> AwsCredentials:
        """Return the credentials of the identity that is named, else those that boto3 finds.

        Args:
            deadline: When to give up.
            lasting: Seconds for which they will be needed, as far as one can choose.

        Raises:
            BotoCoreError: There are none, or they could not be refreshed.
            MQAuthError: The identity that is named has none.
        """
        if self._identity is not None:
            return self._identity.credentials(timeout=deadline.remaining(), lasting=lasting)
        try:
            return self._found(deadline)
        except (NoCredentialsError, PartialCredentialsError):
            self._check_region(deadline)
            raise

    def _check_region(self, deadline: Deadline) -> None:
        """Raise for both where the region is missing beside the credentials."""
        try:
            self.region(deadline)
        except NoRegionError:
            raise NothingConfiguredError from None

    def _found(self, deadline: Deadline) -> AwsCredentials:
        found = self._made(deadline).get_credentials()
        if found is None:
            raise NoCredentialsError
        if not isinstance(found, RefreshableCredentials):
            # Something else may renew them where they were found, in a file for example.
            self._session = None
        frozen = found.get_frozen_credentials()
        if not frozen.access_key or not frozen.secret_key:
            raise NoCredentialsError
        expiry = getattr(found, "_expiry_time", None)
        return AwsCredentials(
            access_key_id=frozen.access_key,
            secret_key=Secret(frozen.secret_key),
            session_token=Secret(frozen.token) if frozen.token else None,
            expires_at=expiry if isinstance(expiry, datetime) else None,
        )

    def client(self, signer: AwsCredentials, deadline: Deadline) -> STSClient:
        """Return an STS client of the right region that signs as `signer`.

        Raises:
            BotoCoreError: There is no region.
            ConfigurationError: AWS's own configuration names an endpoint that is none.
            InsecureTransportError: It names one that is not safe.
        """
        token = signer.session_token
        session = self._made(deadline)
        region = self.region(deadline)
        try:
            client = session.client(
                "sts",
                region_name=region,
                endpoint_url=self._config.endpoint_url,
                verify=self._config.ca_file,
                config=_bounded(deadline),
                aws_access_key_id=signer.access_key_id,
                aws_secret_access_key=signer.secret_key.reveal(),
                aws_session_token=token.reveal() if token else None,
            )
        except ValueError:
            raise no_endpoint("sts") from None
        check_url(client.meta.endpoint_url, "the STS endpoint")
        return client

    def region(self, deadline: Deadline) -> str:
        """Return the region.

        Raises:
            BotoCoreError: None is known.
            ConfigurationError: What AWS's own configuration says is none.
        """
        # Containers know their region as AWS_REGION, which boto3 does not read. Without any it
        # would take the global endpoint.
        region: str | None = self._config.region or self._made(deadline).region_name
        region = region or os.environ.get("AWS_REGION")
        if not region and self._config.roles_anywhere is not None:
            region = self._config.roles_anywhere.region
        if not region:
            raise NoRegionError
        if self._config.region or sts_endpoint_of_environment():
            return region
        return check_region(region)

    def _made(self, deadline: Deadline) -> boto3.Session:
        if self._session is None:
            core = botocore.session.Session(profile=self._config.profile)
            core.register_component("data_loader", _loader())
            # The old global endpoint has no GetWebIdentityToken.
            core.set_config_variable("sts_regional_endpoints", "regional")
            # For the calls that botocore makes by itself to find credentials.
            core.set_default_client_config(_bounded(deadline))
            if self._config.ca_file is None:
                configured = core.get_config_variable("ca_bundle")
                check_ca_variables(["AWS_CA_BUNDLE" if configured else "REQUESTS_CA_BUNDLE"])
            self._session = boto3.Session(botocore_session=core)
        return self._session


def _bounded(deadline: Deadline) -> Config:
    # When to try again is the business of the credential source.
    left = max(deadline.remaining(), 0.001)
    once: Any = {"total_max_attempts": 1, "mode": "standard"}
    return Config(connect_timeout=left, read_timeout=left, retries=once)


@functools.cache
def _loader() -> Loader:
    # Service descriptions, parsed once for all sessions.
    return botocore.loaders.create_loader()
