"""Everything mqauth raises.

MQAuthError
 ├─ ConfigurationError              what the user wrote cannot work; never retryable
 │   ├─ UnknownProviderError        no such provider is installed
 │   └─ InsecureTransportError      a credential would cross the network in clear
 ├─ CredentialError                 a credential could not be had
 │   ├─ IssuerUnavailableError      the issuer did not answer, or not usefully: retryable
 │   ├─ IssuerRefusedError          the issuer said no to this client; not retryable
 │   ├─ InvalidCredentialError      what the issuer gave cannot be used; retryable
 │   └─ CredentialExpiredError      the credential at hand has run out; retryable
 └─ ManagementError                 the broker's management API did not do what it was asked
     ├─ ManagementUnavailableError  it did not answer, or not usefully: retryable
     └─ ManagementRefusedError      it refused the login or the request; not retryable

Every message is one line: what failed, why, and what to do about it. No message holds a secret.
"""

from __future__ import annotations


class MQAuthError(Exception):
    """The root of all errors of mqauth.

    Args:
        message: What failed and why, without a secret.
        remedy: What the reader can do about it.
        retry_after: Seconds the other side asked to wait before the next attempt, if it said so.

    Attributes:
        retryable: Whether the same call may succeed later without anybody changing anything.
    """

    retryable = False

    def __init__(
        self, message: str, *, remedy: str | None = None, retry_after: float | None = None
    ) -> None:
        """Join what failed and what to do about it to one line."""
        said = _one_line(message)
        advice = _one_line(remedy) if remedy else None
        super().__init__(f"{said} ({advice})" if advice else said)
        # After other parents, which may have a `message` of their own, as those of amqp do.
        self.message = said
        self.remedy = advice
        self.retry_after = retry_after


class ConfigurationError(MQAuthError):
    """What the user wrote cannot work, whoever tries again."""


class UnknownProviderError(ConfigurationError):
    """No installed distribution offers a provider of that name."""


class InsecureTransportError(ConfigurationError):
    """A credential would be sent in clear text to another host."""


class CredentialError(MQAuthError):
    """A credential could not be had."""


class IssuerUnavailableError(CredentialError):
    """The issuer did not answer in time, or answered that it cannot serve now."""

    retryable = True


class IssuerRefusedError(CredentialError):
    """The issuer knows the request and refuses it: asking again changes nothing."""


class InvalidCredentialError(CredentialError):
    """The issuer gave something that cannot be used as a credential."""

    retryable = True


class CredentialExpiredError(CredentialError):
    """The credential at hand has run out and no newer one could be had."""

    retryable = True


class ManagementError(MQAuthError):
    """The broker's management API did not do what it was asked."""


class ManagementUnavailableError(ManagementError):
    """The management API did not answer in time, or answered that it cannot serve now."""

    retryable = True


class ManagementRefusedError(ManagementError):
    """The management API refuses the login or the request: asking again changes nothing."""


def _one_line(text: str, limit: int = 1000) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
