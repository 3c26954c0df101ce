"""Writes the `credential_process` line of a profile of the AWS config."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from credproc.awsfiles import command, edit, replace
from credproc.awsfiles.profiles import config_sections, overshadowing
from credproc.errors import UsageError
from credproc.flags import BY_FIELD, SWITCH
from credproc.light import NamedTuple
from credproc.options import Value, boolean, empty_means_none
from credproc.profiles import USUAL_FILE

KEY = "credential_process"
PROGRAM = "credproc"
URIS = ("pkcs11:", "handle:")
FILE_URI = "file://"
PIN = "pin-value"
_BACKUP = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SECRETS = re.compile(
    r"(?P<key>^[-+ ]?\s*(?:aws_secret_access_key|aws_session_token)\s*=\s*"
    r"|--(?:pkcs8|tpm-key)-password[= ]+|pin-value=|://(?=[^\s/]*@))(?P<value>\S+)",
    re.IGNORECASE,
)


class Change(NamedTuple):
    """What is to become of the config file."""

    path: Path
    profile: str
    line: str
    before: bytes
    after: bytes

    def diff(self) -> Iterator[str]:
        """Yield the lines of a unified diff, without secrets of the user's."""
        lines = difflib.unified_diff(
            self.before.decode("utf-8", "replace").splitlines(),
            self.after.decode("utf-8", "replace").splitlines(),
            str(self.path),
            str(self.path),
            lineterm="",
        )
        for line in lines:
            yield _SECRETS.sub(r"\g<key>********", line)


def command_words(
    program: Sequence[str],
    entry: str | None,
    flags: Mapping[str, Value],
    commands: Collection[str] = (),
) -> list[str]:
    """Return the command that SDKs shall run, with every path absolute.

    SDKs run it in whatever directory they are in, and expand neither `~` nor variables.

    Args:
        program: How to run this program.
        entry: The named entry of our own config file, if one is used.
        flags: The session flags, by field name.
        commands: The names of commands; an entry of such a name needs a command before it.

    Raises:
        UsageError: A password is among them: the config file is no place for it.
    """
    words = list(program)
    if entry:
        words += ["credential-process", entry] if entry in commands else [entry]
    for field, value in flags.items():
        flag = BY_FIELD[field]
        if flag.secret:
            raise UsageError(
                f"--{flag.name} cannot be written into the AWS config: others may read it there",
                remedy="put the password into a file of mode 0600 and use --key-password-file",
            )
        _refuse_secret(flag.name, str(value))
        if flag.kind == SWITCH:
            words += [f"--{flag.name}"] if boolean(f"--{flag.name}", str(value)) else []
        elif value == "" and empty_means_none(flag):
            continue
        elif flag.metavar == "PATH":
            words += [f"--{flag.name}", absolute(str(value))]
        elif field == "cert_selector" and str(value).startswith(FILE_URI):
            path = absolute(str(value).removeprefix(FILE_URI))
            words += [f"--{flag.name}", f"{FILE_URI}{path}"]
        else:
            words += [f"--{flag.name}", str(value)]
    return words


def _refuse_secret(name: str, value: str) -> None:
    if PIN in value.lower():
        raise UsageError(
            f"the PIN in --{name} cannot be written into the AWS config: others may read it there",
            remedy="put it into a file of mode 0600 and write pin-source=file:PATH",
        )
    if name == "endpoint" and "@" in value:
        raise UsageError(
            "the user in --endpoint cannot be written into the AWS config: others may read it "
            "there",
            remedy="name an endpoint that asks for no login",
        )


def refuse_moved_entries(entry: str, path: str) -> None:
    """Refuse an entry of a file that the command will not find.

    SDKs may run it in another environment, without the variable that names the file here.

    Args:
        entry: The named entry of our own config file.
        path: The file as it is found here.

    Raises:
        UsageError: It is not where the file is without such a variable.
    """
    usual = os.path.expanduser(USUAL_FILE)
    if os.path.realpath(path) != os.path.realpath(usual):
        raise UsageError(
            f"the entry {entry!r} is in {path}, where SDKs that run the command in another "
            "environment do not find it",
            remedy=f"move the file to {usual}, or give the flags themselves",
        )


def absolute(path: str) -> str:
    """Return a path that means the same in every directory; a URI stays as it is."""
    if path.startswith(URIS):
        return path
    return os.path.abspath(os.path.expanduser(path))  # links stay links


def this_program() -> list[str]:
    """Return the words that run this program from anywhere: the launcher, if it can be found."""
    beside = Path(sys.executable).with_name(PROGRAM)
    if os.access(beside, os.X_OK):
        return [str(beside)]
    found = shutil.which(PROGRAM)
    return [absolute(found)] if found else [sys.executable, "-m", "credproc"]


def plan(path: Path, profile: str, words: Sequence[str]) -> Change:
    """Return what to change, without changing it.

    Raises:
        CacheError: The config file cannot be read.
        UsageError: It, the profile's name or the command cannot be written so that SDKs read it.
    """
    line = command.join(words)
    before = replace.read(path)
    with edit.naming(path):
        return Change(path, profile, line, before, _changed(before, profile, line))


def apply(change: Change) -> Path | None:
    """Write the change and return where the old content is kept, None if there was none.

    Raises:
        CacheError: The file or the copy cannot be written; the file is as it was.
    """
    kept: list[Path] = []

    def keep(content: bytes) -> None:
        if content:
            kept.append(_back_up(change.path, content))

    replace.rewrite(
        change.path,
        lambda content: _changed(content, change.profile, change.line),
        before=keep,
        private=False,
    )
    return kept[0] if kept else None


def warnings(change: Change, credentials: Path) -> list[str]:
    """Return what will keep SDKs from running the command all the same."""
    config = edit.read_section(change.after, config_sections(change.after, change.profile))
    with edit.naming(credentials):
        stored = edit.read_section(replace.read(credentials), [change.profile])
    return list(overshadowing(config, stored))


def _changed(content: bytes, profile: str, line: str) -> bytes:
    return edit.set_keys(content, config_sections(content, profile), {KEY: line})


def _back_up(path: Path, content: bytes) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    real = Path(os.path.realpath(path))
    number = 0
    while True:
        suffix = f"-{number}" if number else ""
        backup = real.with_name(f"{real.name}.{stamp}{suffix}.bak")
        try:
            descriptor = os.open(backup, _BACKUP, 0o600)
        except FileExistsError:
            number += 1
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        return backup
