"""What the exit codes of commands mean."""

from __future__ import annotations

from mqauth.errors import (
    ConfigurationError,
    IssuerRefusedError,
    ManagementRefusedError,
    MQAuthError,
)

FAILED = 1
"""Something failed that no other code stands for."""
USAGE = 2
"""The command line or the configuration cannot work: change it."""
REFUSED = 3
"""Who was asked says no: allow it there."""
UNAVAILABLE = 4
"""Nobody answered usefully: the same command may succeed later."""
INTERRUPTED = 130
"""Ctrl-C."""

TABLE = f"""\b
Exit codes:
  0    done
  {FAILED}    failed
  {USAGE}    the command line or the configuration cannot work
  {REFUSED}    refused by who was asked; asking again changes nothing
  {UNAVAILABLE}    no useful answer; the same command may succeed later
  {INTERRUPTED}  interrupted"""


def exit_code(error: MQAuthError) -> int:
    """Return the exit code that an error ends the command with."""
    if isinstance(error, ConfigurationError):
        return USAGE
    if isinstance(error, IssuerRefusedError | ManagementRefusedError):
        return REFUSED
    return UNAVAILABLE if error.retryable else FAILED
