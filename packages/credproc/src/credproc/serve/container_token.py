"""The token that containers show for their credentials: from a file or the environment."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from credproc.errors import CacheError, UsageError
from credproc.secret import Secret

VARIABLE = "CREDPROC_CONTAINER_TOKEN"
SHORTEST = 16
LARGEST_FILE = 4096
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def from_value(text: str) -> Callable[[], Secret]:
    """Return a source of the token `text`.

    Raises:
        UsageError: It is too short to be safe, or cannot stand in a header.
    """
    token = _checked(text, VARIABLE)
    return lambda: token


def from_file(path: Path) -> Callable[[], Secret]:
    """Return a source that reads the token from a file each time, so that it may be rotated.

    A file that does not exist is made, readable by its owner only, with a random token. There is no
    line end behind it: SDKs send the file as it is, and botocore refuses one with a line end.

    Raises:
        CacheError: The file cannot be made or read, or others may read it.
        UsageError: The token is too short to be safe, or cannot stand in a header.
    """
    try:
        descriptor = os.open(path, _CREATE, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise CacheError(
            f"the container token {path} cannot be made: {error.strerror}",
            remedy="name another with --container-token-file",
        ) from None
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
    _read(path)
    return lambda: _read(path)


def _read(path: Path) -> Secret:
    try:
        with os.fdopen(os.open(path, _READ), "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(LARGEST_FILE)
    except OSError as error:
        raise CacheError(
            f"the container token {path} cannot be read: {error.strerror}",
            remedy="correct its permissions",
        ) from None
    if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) & 0o007:
        raise CacheError(
            f"the container token {path} is no file, or everybody may read it",
            remedy="make it mode 0600, or 0640 with a group that may have the credentials",
        )
    return _checked(content.decode("latin-1").rstrip("\r\n"), str(path))


def _checked(text: str, source: str) -> Secret:
    if len(text) < SHORTEST or not (text.isascii() and text.isprintable() and " " not in text):
        raise UsageError(
            f"the container token of {source} is shorter than {SHORTEST} characters "
            "or cannot stand in a header",
            remedy="use letters and digits, such as `openssl rand -hex 32` gives",
        )
    return Secret(text)
