"""Answers the helper when it asks for the password of a key on its terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from credproc.errors import IdentityError
from credproc.identity.passwords import Passwords
from credproc.secret import Secret

if TYPE_CHECKING:
    from credproc.options import SessionOptions

_PROMPT = re.compile(r"Please enter your (?P<what>[^:\n]{1,100}):")
_AGAIN = re.compile(r"[Ii]ncorrect [^\n]{1,200}[Tt]ry again")


class Dialogue:
    """Knows one password, and what to say when it is asked for twice.

    Args:
        options: What the user wrote.
    """

    def __init__(self, options: SessionOptions) -> None:
        """Read nothing yet."""
        self._options = options
        self._heard = ""
        self._answered = False

    def answer(self, said: str) -> str | None:
        """Return the password if what the helper said asks for it.

        Raises:
            IdentityError: It was wrong, or there is none to be had.
        """
        # What was typed may come back as an echo, so nothing of it is kept.
        self._heard = (self._heard + said)[-1000:]
        if self._answered:
            if _AGAIN.search(self._heard):
                raise IdentityError(
                    "the password of the key is wrong",
                    remedy="correct it in --key-password-file or in the environment",
                )
            return None
        prompt = _PROMPT.search(self._heard)
        if prompt is None:
            return None
        self._answered, self._heard = True, ""
        return self._password(prompt["what"].removesuffix(" password")).reveal()

    def _password(self, what: str) -> Secret:
        if self._options.no_tpm_key_password:
            return Secret("")  # key files that do not say so make the helper ask all the same
        passwords = Passwords(self._options)
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
