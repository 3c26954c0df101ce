"""Everything the sandbox raises.

SandboxError
 ├─ NotInstalledError     a part is missing and may not or could not be installed
 └─ BrokerError           a broker did not start, did not stop, or refused a command

Every message is one line: what failed, why, and what to do about it.
"""

from __future__ import annotations


class SandboxError(Exception):
    """The root of all errors of the sandbox.

    Args:
        message: What failed and why.
        remedy: What the reader can do about it.
    """

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        """Join what failed and what to do about it to one line."""
        self.message = " ".join(message.split())
        self.remedy = " ".join(remedy.split()) if remedy else None
        super().__init__(f"{self.message} ({self.remedy})" if self.remedy else self.message)


class NotInstalledError(SandboxError):
    """A part is missing, and the sandbox may not or could not install it."""


class BrokerError(SandboxError):
    """A broker did not start, did not stop, or refused a command."""
