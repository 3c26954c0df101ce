"""The `token-file` provider: a token that something else keeps fresh on disk.

Such as a projected Kubernetes service-account token, or a JWT-SVID that a SPIFFE helper writes.

Options:

- `path`: the file; it is read anew at every fetch, and white space around the token is dropped
- `username`: the user name at login; usually empty, since the broker reads it from the token
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from mqauth.credentials import BrokerCredentials
from mqauth.jwt_claims import is_jwt
from mqauth.provider import Option
from mqauth.providers._bearer import from_jwt
from mqauth.providers._token_text import read_token


class TokenFileProvider:
    """Reads a token from a file.

    Args:
        path: The file.
        username: The user name at login.
    """

    name: ClassVar[str] = "token-file"
    options: ClassVar[tuple[Option, ...]] = (
        Option(name="path", required=True, help="the file that holds the token"),
        Option(name="username", default="", help="the user name at login, if the broker wants one"),
    )
    shareable: ClassVar[bool] = False

    def __init__(self, *, path: Path, username: str = "") -> None:
        """Keep the options; the file may appear later."""
        self._path = path
        self._username = username

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build the provider from validated options."""
        return cls(path=Path(options["path"]).expanduser(), username=options["username"])

    @property
    def identity(self) -> str:
        """The file, and the user if one is set."""
        return f"token file {self._path}" + (f" as {self._username}" if self._username else "")

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Read the file.

        Returns:
            The token as password; if it is a JWT, with its times, else without end of life.

        Raises:
            IssuerUnavailableError: The file is not there.
            InvalidCredentialError: It is empty, too large, no text, or its token has expired.
            ConfigurationError: This user may not read it.
        """
        token = read_token(self._path)
        if is_jwt(token):
            return from_jwt(
                token, provider=self.name, origin=f"the file {self._path}", username=self._username
            )
        return BrokerCredentials(
            username=self._username,
            password=token,
            issued_at=datetime.now(UTC),
            provider=self.name,
        )
