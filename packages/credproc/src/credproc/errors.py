"""What can go wrong, each with a documented exit code.

    CredprocError                     1  something unexpected
     ├─ UsageError                    2  an option, an ARN or a profile cannot work as written
     ├─ IdentityError                 3  the certificate or its key cannot be used
     ├─ RefusedError                  4  the service understood the request and refuses it
     ├─ UnavailableError              5  no answer in time, or it cannot serve now; retryable
     │   ├─ ThrottledError            5  it asks for fewer requests; retryable
     │   └─ UntrustedServerError      5  its TLS certificate is not trusted; not retryable
     ├─ AnswerError                   6  it answered something that is no credential
     ├─ HelperError                   7  aws_signing_helper is missing, refused or failed
     └─ CacheError                    8  the cache or another file cannot be written

Every message is one line: what failed and why, then the remedy. No message holds a secret.
"""

from __future__ import annotations

LONGEST_MESSAGE = 1000


class CredprocError(Exception):
    """The root of all errors of credproc.

    Args:
        message: What failed and why, without a secret.
        remedy: What the reader can do about it.
        retry_after: Seconds the service asked to wait before the next attempt, if it did.

    Attributes:
        exit_code: The exit code of the command.
        retryable: Whether the same call may succeed later without anybody changing anything.
    """

    exit_code = 1
    retryable = False

    def __init__(
        self, message: str, *, remedy: str | None = None, retry_after: float | None = None
    ) -> None:
        """Join what failed and what to do about it to one line."""
        self.message = _one_line(message)
        self.remedy = _one_line(remedy) if remedy else None
        self.retry_after = retry_after
        super().__init__(f"{self.message}; {self.remedy}" if self.remedy else self.message)


class UsageError(CredprocError):
    """What the user wrote cannot work, whoever tries again."""

    exit_code = 2


class IdentityError(CredprocError):
    """The certificate, its chain or its private key cannot be used."""

    exit_code = 3


class RefusedError(CredprocError):
    """The service understood the request and refuses it.

    Attributes:
        code: The service's error code, such as `AccessDeniedException`.
        status: The HTTP status.
    """

    exit_code = 4

    def __init__(
        self, message: str, *, remedy: str | None = None, code: str = "", status: int = 0
    ) -> None:
        """Keep what a caller may act on."""
        super().__init__(message, remedy=remedy)
        self.code = code
        self.status = status


class UnavailableError(CredprocError):
    """The service did not answer in time, or answered that it cannot serve now."""

    exit_code = 5
    retryable = True


class ThrottledError(UnavailableError):
    """The service asks for fewer requests."""


class UntrustedServerError(UnavailableError):
    """The server's TLS certificate does not lead to a trusted authority, now or in a second."""

    retryable = False


class AnswerError(CredprocError):
    """The service answered something that is no credential."""

    exit_code = 6


class HelperError(CredprocError):
    """The helper backend is missing, not to be trusted, or failed."""

    exit_code = 7


class CacheError(CredprocError):
    """The cache or another file cannot be written."""

    exit_code = 8


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"
