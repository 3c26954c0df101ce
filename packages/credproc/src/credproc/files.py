"""Reading the user's files, with errors that say which file and why."""

from __future__ import annotations

import os
import stat

from credproc.errors import IdentityError
from credproc.telling import tell

LARGEST = 1024 * 1024


def read_file(path: str, what: str) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file.
        what: What the file is to the user, such as `certificate`.

    Raises:
        IdentityError: It cannot be read, is no regular file, is empty or too large.
    """
    try:
        # Opening a pipe that nobody writes to would block for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise IdentityError(
            f"the {what} {path} cannot be read: {error.strerror}", remedy=_remedy(path, error)
        ) from None
    except ValueError:
        raise IdentityError(f"the {what}'s path cannot be a path: it has a null byte") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise IdentityError(f"the {what} {path} is not a regular file", remedy="name a file")
        content = os.read(descriptor, LARGEST + 1)
    except OSError as error:
        raise IdentityError(f"the {what} {path} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if not content.strip():
        raise IdentityError(f"the {what} {path} is empty", remedy="write it again")
    if len(content) > LARGEST:
        raise IdentityError(f"the {what} {path} is larger than 1 MiB", remedy="name another file")
    return content


def warn_if_open(path: str | None) -> None:
    """Say on standard error that everybody may read a private key.

    SDKs show standard error only where the command fails, or pass it on; neither harms.
    """
    try:
        status = os.stat(path or "")
    except (OSError, ValueError):
        return
    if status.st_mode & stat.S_IROTH and stat.S_ISREG(status.st_mode):
        tell(f"warning: everybody on this host may read the private key {path}; chmod 0600 it")


def _remedy(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        if path.startswith("~") or "$" in path:
            return "write the path out: AWS SDKs expand neither ~ nor variables"
        if not os.path.isabs(path):  # pathlib takes 10 ms to import
            return f"check the path; it is relative to {os.getcwd()}"
        return "check the path"
    if isinstance(error, PermissionError):
        return f"let user {os.geteuid()} read it (chown, or chmod 0640 and a group)"
    return "check the path and the file system"
