"""The `static` provider: a RabbitMQ user whose password does not change by itself.

Options:

- `username`: the broker's user
- `password` or `password_file`: its password; a file is read anew at every fetch
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from mqauth.credentials import BrokerCredentials
from mqauth.errors import ConfigurationError, InvalidCredentialError
from mqauth.provider import Option
from mqauth.secret import Secret


class StaticProvider:
    """Hands out a user name and a password as configured.

    Args:
        username: The broker's user.
        password: Its password; a `FileSecret` is read at every fetch.
    """

    name: ClassVar[str] = "static"
    options: ClassVar[tuple[Option, ...]] = (
        Option(name="username", required=True, help="the broker's user name"),
        Option(name="password", required=True, secret=True, help="the user's password"),
    )
    shareable: ClassVar[bool] = False
    login_remedy: ClassVar[str] = "check the user name, the password and that the user exists there"
    """What to check when a broker refuses the login."""

    def __init__(self, *, username: str, password: Secret) -> None:
        """Keep the options."""
        self._username = username
        self._password = password
        self._has_worked = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build the provider from validated options."""
        return cls(username=options["username"], password=options["password"])

    @property
    def identity(self) -> str:
        """The user."""
        return f"static user {self._username}"

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Return the user name and the password, which have no end of life.

        Raises:
            ConfigurationError: The password's file cannot be read.
            InvalidCredentialError: It could be read before, so it may just be being replaced.
        """
        try:
            password = self._password.reveal()
        except ConfigurationError as error:
            if not self._has_worked:
                raise
            raise InvalidCredentialError(error.message, remedy=error.remedy) from None
        self._has_worked = True
        return BrokerCredentials(
            username=self._username,
            password=Secret(password),
            issued_at=datetime.now(UTC),
            principal=self._username,
            provider=self.name,
        )
