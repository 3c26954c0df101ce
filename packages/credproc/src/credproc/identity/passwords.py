"""Where the password of a key comes from: an option, a file, the environment, or the terminal."""

from __future__ import annotations

from credproc.deadline import Deadline
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
        deadline: When everything has to be done, this included; without one the time limit of
            the options begins now, as keys are the first thing that a run loads.
    """

    def __init__(self, options: SessionOptions, deadline: Deadline | None = None) -> None:
        """Read nothing yet."""
        self._options = options
        self._deadline = deadline or Deadline(options.time_limit)

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
            IdentityError: There is no terminal, nobody is to be asked, or nobody answers in time.
        """
        given = self._options.pkcs8_password
        if given is not None and not given:
            raise IdentityError(f"{what} needs a password", remedy="give it")
        from credproc.identity.terminal import typed

        elsewhere = (
            "name a file that holds it with --key-password-file, or set CREDPROC_PKCS8_PASSWORD"
        )
        try:
            return Secret(typed(f"Password of {what}: ", self._deadline))
        except TimeoutError:  # one of OSError's
            raise IdentityError(
                f"{what} needs a password and none was typed within the time limit of "
                f"{self._deadline.seconds:g} s",
                remedy=elsewhere,
            ) from None
        except OSError:
            raise IdentityError(
                f"{what} needs a password and there is no terminal to ask on", remedy=elsewhere
            ) from None
        except EOFError:
            raise IdentityError(f"{what} needs a password and none was typed") from None
