"""Finds the helper and refuses one that somebody else could have put there."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from credproc.errors import HelperError

NAME = "aws_signing_helper"
MOST_LINKS = 40
TRUSTED_OWNER = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def find_helper(
    given: str | None, environ: Mapping[str, str], needed_since: str | None = None
) -> str:
    """Return the absolute path of a helper that is safe to run.

    Args:
        given: What `--helper` or CREDPROC_HELPER says; None to search PATH.
        environ: The environment variables.
        needed_since: Why nothing else will do, such as that the key is in a TPM.

    Raises:
        HelperError: There is none, or others than root and this user may replace it.
    """
    path = os.path.abspath(given) if given else _search(environ.get("PATH", ""), needed_since)
    check_trusted(path)
    return path


def check_trusted(path: str) -> None:
    """Refuse an executable that others may write, or whose directories they may.

    Every directory and link on the way is looked at. A directory with the sticky bit, such as
    /tmp, is as good as its owner, since others can replace nothing in it.

    Raises:
        HelperError: It is refused, missing, or no executable.
    """
    try:
        real = _walk(path)
        status = os.stat(real)  # pathlib takes 10 ms to import
    except OSError as error:
        raise HelperError(
            f"the helper {path} cannot be used: {error.strerror}",
            remedy=f"install {NAME}, or name it with --helper",
        ) from None
    if not stat.S_ISREG(status.st_mode) or not os.access(real, os.X_OK):
        raise HelperError(f"the helper {path} is no executable file", remedy="chmod 0755 it")
    if status.st_mode & _OTHERS_WRITE or not _trusts(status.st_uid):
        raise _refused(path, real)


def _search(path: str, needed_since: str | None) -> str:
    for directory in path.split(os.pathsep):
        # An empty or relative entry is whatever directory a program happens to start in.
        if directory.startswith("/"):
            candidate = f"{directory.rstrip('/')}/{NAME}"
            if os.access(candidate, os.X_OK):
                return candidate
    missing = f"there is no {NAME} on PATH"
    raise HelperError(
        f"{needed_since}, where only {NAME} can use it, and {missing}" if needed_since else missing,
        remedy="install it, or name it with --helper or CREDPROC_HELPER",
    )


def _walk(path: str) -> str:
    """Return where `path` leads, with every directory on the way checked."""
    rest = path.split("/")[::-1]
    current = "/"
    _check_directory(path, current)
    links = 0
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            current = os.path.dirname(current)
            continue
        following = f"{current.rstrip('/')}/{part}"
        status = os.lstat(following)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MOST_LINKS:
                raise HelperError(f"the helper {path} is behind too many links")
            target = os.readlink(following)
            rest += target.split("/")[::-1]
            current = "/" if target.startswith("/") else current
            continue
        if stat.S_ISDIR(status.st_mode):
            _check_directory(path, following)
        current = following
    return current


def _check_directory(path: str, directory: str) -> None:
    status = os.lstat(directory)
    sticky = bool(status.st_mode & stat.S_ISVTX)
    if not _trusts(status.st_uid) or (status.st_mode & _OTHERS_WRITE and not sticky):
        raise _refused(path, directory)


def _trusts(owner: int) -> bool:
    return owner in (TRUSTED_OWNER, os.geteuid())


def _refused(path: str, culprit: str) -> HelperError:
    return HelperError(
        f"the helper {path} is refused: others than root and this user may write {culprit}",
        remedy=f"chown root {culprit} and chmod go-w it",
    )
