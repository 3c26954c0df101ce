"""What the set-up asks of AWS, and what it changes there. Nothing here deletes anything."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mqauth.amazonmq_setup.policies import Document
from mqauth.errors import ConfigurationError, IssuerRefusedError, MQAuthError
from mqauth.providers._aws_errors import error_code, translate
from mqauth.providers._aws_region import check_region, no_endpoint
from mqauth.providers._quiet import quiet

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_mq import MQClient

CALL_TIMEOUT = 20.0
"""Seconds that one call to AWS may take."""

_MISSING = ("NoSuchEntity", "NoSuchEntityException")
_RETRIES: Any = {"total_max_attempts": 3, "mode": "standard"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerState:
    """A broker as Amazon MQ describes it.

    Args:
        state: `RUNNING`, `REBOOT_IN_PROGRESS` and so on.
        engine: `RABBITMQ` or `ACTIVEMQ`.
        version: The engine's version.
        configuration: Id of its configuration.
        revision: The revision that it runs with.
        pending: The revision that it will run with after its next reboot, if that differs.
    """

    state: str
    engine: str
    version: str
    configuration: str
    revision: int
    pending: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """A role as IAM describes it.

    Args:
        arn: Its ARN, with its path.
        trust: Who may assume it.
    """

    arn: str
    trust: Document


class Account:
    """An AWS account, by the credentials that boto3 finds.

    Args:
        region: Where the broker stands; None for the region of AWS's own configuration.
        profile: Profile of AWS's configuration.

    Raises:
        ConfigurationError: There are no such profile and region.
    """

    def __init__(self, *, region: str | None = None, profile: str | None = None) -> None:
        """Look up profile and region; nothing is asked yet."""
        with _translated("AWS"):
            self._session = boto3.Session(profile_name=profile, region_name=region)
        # Containers know their region as AWS_REGION, which boto3 does not read.
        self.region = self._session.region_name or os.environ.get("AWS_REGION")
        if not self.region:
            raise ConfigurationError(
                "no AWS region is known",
                remedy="name the broker by its host, or give --region or AWS_DEFAULT_REGION",
            )
        check_region(self.region, option="--region")
        self._clients: dict[str, Any] = {}

    def caller_arn(self) -> str:
        """Return who calls."""
        with _translated("AWS STS"):
            return str(self._client("sts").get_caller_identity()["Arn"])

    def issuer(self) -> str | None:
        """Return the account's issuer of web identity tokens; None where federation is off."""
        with _translated("AWS IAM"):
            try:
                found = self._iam().get_outbound_web_identity_federation_info()
            except ClientError as error:
                if error_code(error) in ("FeatureDisabled", "FeatureDisabledException"):
                    return None
                raise
        return str(found["IssuerIdentifier"]) if found.get("JwtVendingEnabled", True) else None

    def enable_federation(self) -> None:
        """Let the account's principals have web identity tokens."""
        with _translated("AWS IAM"):
            self._iam().enable_outbound_web_identity_federation()

    def role(self, role: str) -> Role | None:
        """Return a role; None if there is none of that name."""
        with _translated("AWS IAM"):
            try:
                found = self._iam().get_role(RoleName=role)["Role"]
            except ClientError as error:
                if error_code(error) not in _MISSING:
                    raise
                return None
        return Role(arn=str(found["Arn"]), trust=_document(found["AssumeRolePolicyDocument"]))

    def create_role(self, role: str, trust: Document) -> None:
        """Create a role."""
        with _translated("AWS IAM"):
            self._iam().create_role(
                RoleName=role,
                AssumeRolePolicyDocument=json.dumps(trust),
                Description="Signs in to Amazon MQ for RabbitMQ",
            )

    def set_trust_policy(self, role: str, trust: Document) -> None:
        """Replace a role's trust policy."""
        with _translated("AWS IAM"):
            self._iam().update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))

    def role_policy(self, role: str, policy: str) -> Document | None:
        """Return an inline policy of a role; None if there is none of that name."""
        with _translated("AWS IAM"):
            try:
                found = self._iam().get_role_policy(RoleName=role, PolicyName=policy)
            except ClientError as error:
                if error_code(error) not in _MISSING:
                    raise
                return None
        return _document(found["PolicyDocument"])

    def set_role_policy(self, role: str, policy: str, document: Document) -> None:
        """Write an inline policy of a role."""
        with _translated("AWS IAM"):
            self._iam().put_role_policy(
                RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document)
            )

    def broker(self, broker_id: str) -> BrokerState:
        """Return the state of a broker.

        Raises:
            ConfigurationError: It has no configuration.
        """
        with _translated("Amazon MQ"):
            found: Mapping[str, Any] = self._mq().describe_broker(BrokerId=broker_id)
        configurations = found.get("Configurations", {})
        current, pending = configurations.get("Current"), configurations.get("Pending")
        if not current:
            raise ConfigurationError(
                f"the broker {broker_id} has no configuration",
                remedy="associate one with it first: aws mq create-configuration, update-broker",
            )
        same = not pending or (pending["Id"], pending["Revision"]) == (
            current["Id"],
            current["Revision"],
        )
        return BrokerState(
            state=str(found["BrokerState"]),
            engine=str(found["EngineType"]).upper(),
            version=str(found["EngineVersion"]),
            configuration=str((current if same else pending)["Id"]),
            revision=int(current["Revision"]),
            pending=None if same else int(pending["Revision"]),
        )

    def configuration_text(self, configuration: str, revision: int) -> str:
        """Return a revision of a broker's configuration.

        Raises:
            ConfigurationError: It is no text of RabbitMQ's.
        """
        with _translated("Amazon MQ"):
            found = self._mq().describe_configuration_revision(
                ConfigurationId=configuration, ConfigurationRevision=str(revision)
            )
        try:
            return base64.b64decode(found["Data"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ConfigurationError(
                f"revision {revision} of the configuration {configuration} is no rabbitmq.conf",
                remedy="look at it with aws mq describe-configuration-revision",
            ) from None

    def latest_revision(self, configuration: str) -> int:
        """Return the number of a configuration's newest revision."""
        with _translated("Amazon MQ"):
            found = self._mq().describe_configuration(ConfigurationId=configuration)
        return int(found["LatestRevision"]["Revision"])

    def add_revision(self, configuration: str, text: str) -> tuple[int, list[str]]:
        """Add a revision to a configuration; return its number and AWS's warnings about it."""
        with _translated("Amazon MQ"):
            found: Mapping[str, Any] = self._mq().update_configuration(
                ConfigurationId=configuration,
                Data=base64.b64encode(text.encode()).decode(),
                Description="Sign-in with IAM (mqauth amazonmq setup)",
            )
        warnings = [
            f"{warning.get('AttributeName', '')} {warning.get('Reason', '')}".strip()
            for warning in found.get("Warnings") or ()
        ]
        return int(found["LatestRevision"]["Revision"]), warnings

    def associate(self, broker_id: str, configuration: str, revision: int) -> None:
        """Have a broker take a revision with its next reboot."""
        with _translated("Amazon MQ"):
            self._mq().update_broker(
                BrokerId=broker_id, Configuration={"Id": configuration, "Revision": revision}
            )

    def reboot(self, broker_id: str) -> None:
        """Reboot a broker."""
        with _translated("Amazon MQ"):
            self._mq().reboot_broker(BrokerId=broker_id)

    def _iam(self) -> IAMClient:
        client: IAMClient = self._client("iam")
        if not hasattr(client, "enable_outbound_web_identity_federation"):
            raise ConfigurationError(
                "the installed boto3 does not know outbound web identity federation",
                remedy="pip install --upgrade boto3 (1.41 has it)",
            )
        return client

    def _mq(self) -> MQClient:
        client: MQClient = self._client("mq")
        return client

    def _client(self, service: Any) -> Any:
        if service not in self._clients:
            bounded = Config(
                connect_timeout=CALL_TIMEOUT / 4, read_timeout=CALL_TIMEOUT, retries=_RETRIES
            )
            try:
                self._clients[service] = self._session.client(
                    service, region_name=self.region, config=bounded
                )
            except ValueError:
                raise no_endpoint(service) from None
        return self._clients[service]


@contextmanager
def _translated(service: str) -> Iterator[None]:
    failure: MQAuthError
    with quiet():
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            failure = _failure(error, service)
        else:
            return
    raise failure


def _failure(error: Exception, service: str) -> MQAuthError:
    failure = translate(error, service=service)
    if isinstance(failure, IssuerRefusedError) and isinstance(error, ClientError):
        return IssuerRefusedError(failure.message, remedy=_REMEDIES.get(error_code(error), _ASK))
    return failure


_ASK = "sign in as somebody who administers the account's IAM and Amazon MQ"
_REMEDIES = {
    "NotFoundException": "check the broker's id and --region: aws mq list-brokers",
    "InvalidClientTokenId": "check the access key, and that it is active",
    "SignatureDoesNotMatch": "check the secret access key and the region",
    "BadRequestException": "see what Amazon MQ says about this configuration",
    "ConflictException": "somebody else changes the same broker: wait and run it again",
}


def _document(found: object) -> Document:
    # botocore decodes documents itself; a client without its handlers gets URL-encoded JSON.
    document = json.loads(unquote(found)) if isinstance(found, str) else found
    return document if isinstance(document, dict) else {}
