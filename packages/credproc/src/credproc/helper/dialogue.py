"""Answers the helper when it asks for the password of a key on its terminal."""

from __future__ import annotations

import re

from credproc.errors import IdentityError
from credproc.identity.passwords import Passwords
from credproc.light import TYPE_CHECKING
from credproc.secret import Secret

if TYPE_CHECKING:
    from credproc.deadline import Deadline
    from credproc.options import SessionOptions

_PROMPT = re.compile(r"Please enter your (?P<what>[^:\n]{1,100}):")
_AGAIN = re.compile(r"[Ii]ncorrect [^\n]{1,200}(?:[Tt]ry again|re-enter)")


class Dialogue:
    """Answers each question once; one that comes again means that the answer was wrong.

    Args:
        options: What the user wrote.
        deadline: When everything has to be done, typing included.

    Attributes:
        typed: What was answered, so that it can be kept out of messages.
    """

    def __init__(self, options: SessionOptions, deadline: Deadline) -> None:
        """Read nothing yet."""
        self._options = options
        self._deadline = deadline
        self._heard = ""
        self._asked: set[str] = set()
        self.typed: list[str] = []

    def answer(self, said: str) -> str | None:
        """Return the password if what the helper said asks for it.

        Raises:
            IdentityError: It was wrong, or there is none to be had.
        """
        # What was typed may come back as an echo, so little of it is kept.
        self._heard = (self._heard + said)[-1000:]
        prompt = _PROMPT.search(self._heard)
        if (self._asked and _AGAIN.search(self._heard)) or (
            prompt is not None and prompt["what"] in self._asked
        ):
            raise IdentityError(
                "the password of the key is wrong",
                remedy="correct it in --key-password-file or in the environment",
            )
        if prompt is None:
            return None
        self._heard = ""
        self._asked.add(prompt["what"])
        password = self._password(prompt["what"].removesuffix(" password")).reveal()
        self.typed.append(password)
        return password

    def _password(self, what: str) -> Secret:
        if self._options.no_tpm_key_password:
            return Secret("")  # key files that do not say so make the helper ask all the same
        passwords = Passwords(self._options, self._deadline)
        given = self._options.tpm_key_password or passwords.given()
        if given is None:
            given = passwords.ask(f"the {what}")
        if not given.reveal().isprintable():
            # A line end would be typed as one, and the rest taken for the next answer.
            raise IdentityError(
                "the password of the key has characters that cannot be typed",
                remedy="use the native backend, or another password",
            )
        return given
