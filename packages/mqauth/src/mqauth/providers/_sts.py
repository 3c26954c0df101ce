"""AWS STS: assume a role where asked to, then get a web identity token."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from mqauth.aws_credentials import AwsCredentials, AwsIdentity
from mqauth.credentials import BrokerCredentials
from mqauth.errors import (
    ConfigurationError,
    CredentialExpiredError,
    InvalidCredentialError,
    MQAuthError,
)
from mqauth.providers._aws_config import SHORTEST, AwsIamConfig
from mqauth.providers._aws_errors import error_code, translate
from mqauth.providers._aws_session import AwsSession
from mqauth.providers._bearer import from_jwt
from mqauth.providers._deadline import Deadline
from mqauth.providers._http_dates import clock_skew
from mqauth.providers._quiet import quiet
from mqauth.secret import Secret

_T = TypeVar("_T")

SESSION_MARGIN = 60.0
"""Seconds by which a session must outlive the next token to be used for it."""

SHORTENING = 5
"""Seconds that a token is made to end before the session it stands on."""

SESSION_NAME = "mqauth"

_EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException"})
_SESSION_FIELDS = frozenset({"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"})
_SECRET_FIELDS = frozenset({"SecretAccessKey", "SessionToken", "WebIdentityToken"})
_ESCALATION_CODE = "SessionDurationEscalationException"


class StsTokens:
    """Gets tokens from STS, keeping a role's session while it lasts.

    Args:
        config: The checked options of the provider.
        provider: The provider's name.
        identity: Where the AWS credentials come from, if not from where boto3 finds them.
    """

    def __init__(
        self, config: AwsIamConfig, *, provider: str, identity: AwsIdentity | None = None
    ) -> None:
        """Ask nothing yet."""
        self._config = config
        self._provider = provider
        self._session = AwsSession(config, identity)
        self._role: AwsCredentials | None = None
        self._clock_skew = 0.0
        self._secrets: list[Secret] = []

    def fetch(self, deadline: Deadline) -> BrokerCredentials:
        """Return a token as credential; logs nothing of what the libraries see.

        Raises:
            CredentialError: No usable token was to be had.
            ConfigurationError: There are no AWS credentials, or no region.
        """
        return self._quietly(lambda: self._fetch_twice_if_expired(deadline))

    def caller(self, deadline: Deadline) -> AwsCredentials:
        """Return the AWS credentials that everything begins with.

        Raises:
            CredentialError: There are none to be had.
            ConfigurationError: There are none.
        """
        return self._quietly(lambda: self._session.signer(deadline))

    def role(self, deadline: Deadline) -> AwsCredentials:
        """Return the session of the (last) role, which is what gets the token.

        Raises:
            CredentialError: A role cannot be assumed.
        """
        return self._quietly(lambda: self._signer(deadline))

    def region(self, deadline: Deadline) -> str:
        """Return the region that is meant, as AWS's own programs find it.

        Raises:
            ConfigurationError: None is known.
        """
        return self._quietly(lambda: self._session.region(deadline))

    def _quietly(self, call: Callable[[], _T]) -> _T:
        failure: MQAuthError
        with quiet():
            try:
                return call()
            except MQAuthError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - botocore raises whatever its parsers hit
                failure = translate(error, self._secrets, provider=self._provider)
        raise failure

    def _fetch_twice_if_expired(self, deadline: Deadline) -> BrokerCredentials:
        try:
            return self._fetch(deadline)
        except ClientError as error:
            if error_code(error) not in _EXPIRED_CODES:
                raise
        self._role = None
        self._session.forget()
        return self._fetch(deadline)

    def _fetch(self, deadline: Deadline) -> BrokerCredentials:
        signer = self._signer(deadline)
        answer = self._token(signer, deadline)
        token = answer.pop("WebIdentityToken", None)
        if not isinstance(token, Secret):
            raise InvalidCredentialError(
                "AWS STS answered without a token",
                remedy="check that endpoint_url, if set, is an STS endpoint",
            )
        ends = [end for end in (answer.get("Expiration"), signer.expires_at) if end is not None]
        return from_jwt(
            token,
            provider=self._provider,
            origin="AWS STS",
            username=self._config.username,
            clock_skew=self._clock_skew,
            ends_by=min(ends, default=None),
        )

    def _signer(self, deadline: Deadline) -> AwsCredentials:
        if not self._config.role_arn:
            lasting = self._config.duration + SESSION_MARGIN
            signer = self._session.signer(deadline, lasting=lasting)
            self._secrets = signer.secrets
            return signer
        if self._role is None or self.left(self._role) < self._config.duration + SESSION_MARGIN:
            self._role = self._assume_roles(deadline)
        self._secrets = self._role.secrets
        return self._role

    def _assume_roles(self, deadline: Deadline) -> AwsCredentials:
        """Assume one role after the other, each with the session of the one before."""
        signer = self._session.signer(deadline)
        *steps, last = self._config.role_arn
        for role_arn in steps:
            signer = self._assume_role(role_arn, {}, signer, deadline)
        return self._assume_role(last, self._config.session_tags, signer, deadline)

    def _assume_role(
        self, role_arn: str, tags: Mapping[str, str], caller: AwsCredentials, deadline: Deadline
    ) -> AwsCredentials:
        self._secrets = caller.secrets
        parameters: dict[str, Any] = {
            "RoleArn": role_arn,
            "RoleSessionName": self._config.role_session_name or SESSION_NAME,
        }
        if self._config.external_id is not None:
            parameters["ExternalId"] = self._config.external_id
        if tags:
            parameters["Tags"] = _pairs(tags)
        answer = self._ask("assume_role", parameters, caller, deadline)
        found = answer.get("Credentials")
        if not isinstance(found, Mapping) or not found.keys() >= _SESSION_FIELDS:
            raise InvalidCredentialError(
                f"AWS STS answered without credentials for the role {role_arn}",
                remedy="check that endpoint_url, if set, is an STS endpoint",
            )
        return AwsCredentials(
            access_key_id=found["AccessKeyId"],
            secret_key=found["SecretAccessKey"],
            session_token=found["SessionToken"],
            expires_at=found["Expiration"],
        )

    def _token(self, signer: AwsCredentials, deadline: Deadline) -> dict[str, Any]:
        duration = self._config.duration
        if signer.expires_at is not None:
            duration = max(SHORTEST, min(duration, int(self.left(signer)) - SHORTENING))
        try:
            return self._ask("get_web_identity_token", self._wanted(duration), signer, deadline)
        except ClientError as error:
            if error_code(error) != _ESCALATION_CODE:
                raise
        shorter = self._shorter(duration, signer)
        return self._ask("get_web_identity_token", self._wanted(shorter), signer, deadline)

    def _shorter(self, duration: int, signer: AwsCredentials) -> int:
        """Return what the session has left; the refusal has just told AWS's time."""
        left = SHORTEST
        if signer.expires_at is not None:
            left = int(self.left(signer)) - SHORTENING
        if SHORTEST <= left < duration:
            return left
        raise CredentialExpiredError(
            f"the AWS credentials end sooner than the shortest token, {SHORTEST} s",
            remedy="renew them where they come from, or let them live longer",
        )

    def _wanted(self, duration: int) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            "Audience": list(self._config.audience),
            "SigningAlgorithm": self._config.signing_algorithm,
            "DurationSeconds": duration,
        }
        if self._config.tags:
            wanted["Tags"] = _pairs(self._config.tags)
        return wanted

    def _ask(
        self, action: str, parameters: Mapping[str, Any], signer: AwsCredentials, deadline: Deadline
    ) -> dict[str, Any]:
        client = self._session.client(signer, deadline)
        asked_at = time.time()
        try:
            call = getattr(client, action, None)
            if call is None:
                raise ConfigurationError(
                    f"the installed boto3 is too old for STS's {action}",
                    remedy="pip install --upgrade boto3 (1.41 has it)",
                )
            answer = call(**parameters)
        except ClientError as error:
            self._note_clock(error.response, asked_at)
            raise
        finally:
            client.close()
        self._note_clock(answer, asked_at)
        return _with_wrapped_secrets(answer)

    def _note_clock(self, answer: Mapping[str, Any], asked_at: float) -> None:
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self._clock_skew = clock_skew(headers, asked_at, time.time())

    def left(self, signer: AwsCredentials) -> float:
        """Return the seconds until AWS credentials end, on AWS's clock as far as it is known."""
        if signer.expires_at is None:
            return float("inf")
        return signer.expires_at.timestamp() - self._clock_skew - time.time()


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _with_wrapped_secrets(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an answer holds, secrets wrapped: variables may show in tracebacks."""
    wrapped: dict[str, Any] = {}
    for name, value in answer.items():
        if isinstance(value, Mapping):
            wrapped[name] = _with_wrapped_secrets(value)
        elif name in _SECRET_FIELDS:
            wrapped[name] = Secret(value)
        else:
            wrapped[name] = value
    return wrapped
