"""Where the password of a key comes from: an option, a file, the environment, or the terminal."""

from __future__ import annotations

import os

from credproc.errors import IdentityError
from credproc.light import TYPE_CHECKING
from credproc.secret import Secret

if TYPE_CHECKING:
    from credproc.options import SessionOptions

TRIES = 3


class Passwords:
    """The password that the options give, asked for at most once each way.

    Args:
        options: What the user wrote.
    """

    def __init__(self, options: SessionOptions) -> None:
        """Read nothing yet."""
        self._options = options

    def given(self) -> Secret | None:
        """Return the password that option, environment or file give, if any.

        Raises:
            IdentityError: The password's file cannot be read.
        """
        if self._options.pkcs8_password is not None:
            return self._options.pkcs8_password
        path = self._options.key_password_file
        if path is None:
            return None
        from credproc.files import read_file

        content = read_file(path, "password file")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise IdentityError(f"the password file {path} is not UTF-8 text") from None
        return Secret(text.removesuffix("\n").removesuffix("\r"))

    def ask(self, what: str) -> Secret:
        """Ask on the terminal, if there is one. An empty password given means: ask nobody.

        Args:
            what: What the password opens, for the prompt.

        Raises:
            IdentityError: There is no terminal, or nobody is to be asked.
        """
        given = self._options.pkcs8_password
        if given is not None and not given:
            raise IdentityError(f"{what} needs a password", remedy="give it")
        try:
            descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
        except OSError:
            raise IdentityError(
                f"{what} needs a password and there is no terminal to ask on",
                remedy="name a file that holds it with --key-password-file, "
                "or set CREDPROC_PKCS8_PASSWORD",
            ) from None
        os.close(descriptor)
        import getpass

        try:
            return Secret(getpass.getpass(f"Password of {what}: "))
        except EOFError:
            raise IdentityError(f"{what} needs a password and none was typed") from None
