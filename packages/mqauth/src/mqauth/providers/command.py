"""The `command` provider: a program that prints a credential as JSON.

Options:

- `command`: the program and its arguments, as a list or as one text that is split like a shell
  splits words; no shell runs, so nothing else of a shell's language works

It is run at every fetch, without input, in a process group of its own. What it has to print stands
in `mqauth.providers._command_output`. Exit statuses: 0 for success; 64 (usage), 78 (configuration),
126 and 127 mean that somebody must correct something, 77 that the issuer refuses, any other one
that a later attempt may succeed (see sysexits.h).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from mqauth.config.option_values import CommandLine
from mqauth.credentials import BrokerCredentials
from mqauth.errors import (
    ConfigurationError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth.provider import Option
from mqauth.providers._command_output import credentials_from, secrets_in
from mqauth.providers._deadline import Deadline
from mqauth.providers._process import Finished, run
from mqauth.providers._text import clean
from mqauth.secret import REDACTED

_TO_CORRECT = frozenset({64, 78, 126, 127})
_REFUSED = 77
_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASS|KEY|CREDENTIAL", re.IGNORECASE)
# A long word of letters and digits may be a key or a token of a kind that nobody told us about.
_SECRET_WORD = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[A-Za-z0-9+_=~-]{24,}")
# What stands after such a name, as in `password=...` or `"token": "..."`: all of a text in quotes,
# else of a password all there is, as it may hold blanks, and one word of what holds none.
_NAMED = r"""([\w-]*(?:{names})[\w-]*["']?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|{value})"""
# Each with what stays of it: the name before the secret.
_SECRETS_BY_PLACE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"([a-z][a-z0-9+.-]*://)(?:[^\s/@:]*:\S*|[^\s/@]*)(?=@)",  # user and password in a URL
        r"""(authorization["']?\s*[:=]\s*).+""",  # a header, whose value may be many words
        r"(\b(?:basic|bearer)\s+)(?!(?:auth|token|scheme|realm|error|is|was)\b|authenticat)\S+",
        _NAMED.format(names="secret|pass", value=".+"),
        _NAMED.format(names="token|key|credential", value=r"\S+"),
    )
)


class CommandProvider:
    """Runs a program for each credential.

    Args:
        command: The program and its arguments.
    """

    name: ClassVar[str] = "command"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            name="command",
            required=True,
            default=CommandLine(),
            help="the program that prints a credential, with its arguments",
        ),
    )
    # What a program prints may depend on its environment, which no identity tells.
    shareable: ClassVar[bool] = False
    login_remedy: ClassVar[str] = (
        "check that the program prints the secret of a user whom the broker knows, or a token "
        "of an issuer that it trusts"
    )
    """What to check when a broker refuses the login."""

    def __init__(self, command: CommandLine) -> None:
        """Keep the command; nothing runs yet."""
        self._command = command

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build the provider from validated options.

        Raises:
            ConfigurationError: The command is empty.
        """
        command = CommandLine(options["command"])
        if not command or not command[0]:
            raise ConfigurationError(
                "the option command of the provider command is empty",
                remedy="name a program, as in /usr/local/bin/broker-token --audience rabbitmq",
            )
        program = os.path.expanduser(command[0])  # noqa: PTH111 - a bare name must stay one
        return cls(CommandLine((program, *command[1:])))

    @property
    def identity(self) -> str:
        """The program; its arguments stay out, as one of them may be a secret."""
        return f"command {shlex.quote(self._command[0])}"

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Run the program and return what it prints.

        Raises:
            IssuerUnavailableError: It failed, or did not end in time.
            IssuerRefusedError: It ended with status 77.
            InvalidCredentialError: What it printed is no credential that is valid now.
            ConfigurationError: It cannot be run, or ended with a status that says so.
        """
        finished = run(self._command, Deadline(timeout))
        what = f"the command {self._command[0]}"
        if finished.status != 0:
            raise _failure(finished, what)
        result = credentials_from(finished.stdout, what=what, provider=self.name)
        if isinstance(result, MQAuthError):
            raise result
        return result


def _failure(finished: Finished, what: str) -> MQAuthError:
    status, said = finished.status, _said(finished)
    ended = f"was ended by signal {-status}" if status < 0 else f"failed with exit status {status}"
    message = f"{what} {ended}" + (f": {said}" if said else " and said nothing")
    if status in _TO_CORRECT:
        return ConfigurationError(message, remedy="run it by hand, then correct its configuration")
    if status == _REFUSED:
        return IssuerRefusedError(message, remedy="grant what it asks for")
    return IssuerUnavailableError(message, remedy="run it by hand to see why")


def _said(finished: Finished) -> str:
    """Return the last line it complained with, without anything that may be a secret."""
    lines = finished.stderr.decode(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    named = [value for name, value in os.environ.items() if _SECRET_NAME.search(name)]
    secrets = [*secrets_in(finished.stdout), *(value for value in named if len(value) > 5)]
    said = clean(last, secrets)
    for pattern in _SECRETS_BY_PLACE:
        said = pattern.sub(rf"\1{REDACTED}", said)
    # What was cut at the front of the limit may be the rest of a secret.
    return clean(_SECRET_WORD.sub(REDACTED, said))
