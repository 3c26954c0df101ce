"""Small files that a configuration names: read without waiting, and no more than there may be."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from mqauth.wording import kind_of

MAX_BYTES = 64 * 1024
MAX_PEM_BYTES = 4 * 1024 * 1024
"""As much as no bundle of certificates has: that of a whole system is a tenth of it."""


def read_limited(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return a regular file's bytes, never more than `limit` + 1 of them.

    Raises:
        OSError: The file cannot be read, or is a directory, a pipe or a device.
    """
    with _opened(path) as file:
        return file.read(limit + 1)


def check_readable(path: Any, limit: int = MAX_PEM_BYTES) -> None:
    """Check a file that a library opens by its path, and would wait for as long as it takes.

    Args:
        path: What was written as its path, of whichever kind.
        limit: How many bytes it may have.

    Raises:
        OSError: It is no path; or the file cannot be read, is too large, or is a directory, a pipe
            or a device.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise OSError(f"it is {kind_of(path)}")
    with _opened(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise OSError(f"it is larger than {limit} bytes")


def reason(error: OSError) -> str:
    """Return why a file could not be read, in the system's words."""
    return error.strerror or str(error)


def _opened(path: str | bytes | os.PathLike[Any]) -> BinaryIO:
    try:
        # Opening a pipe that nobody writes to would block for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:
        raise OSError("no path has such characters") from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError("it is not a regular file")
