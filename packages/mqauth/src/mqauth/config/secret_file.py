"""Secrets that live in a file, such as a mounted Kubernetes or Docker secret."""

from __future__ import annotations

import os
from pathlib import Path

from mqauth.config.small_file import MAX_BYTES, read_limited, reason
from mqauth.errors import ConfigurationError
from mqauth.secret import Secret


class FileSecret(Secret):
    """A secret read anew from its file whenever it is revealed, so that a rotated file counts.

    Args:
        path: The file; one trailing line break is not part of the secret.
    """

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Remember the file; nothing is read yet."""
        super().__init__("")
        self.path = Path(path).expanduser()

    def reveal(self) -> str:
        """Return what the file holds now.

        Raises:
            ConfigurationError: The file is missing, unreadable, empty, too large or no text.
        """
        failure: str
        try:
            content = read_limited(self.path)
            text = content.decode()
        except OSError as error:
            failure = reason(error)
        except UnicodeDecodeError:
            failure = "it is not UTF-8 text"
        else:
            value = text.removesuffix("\n").removesuffix("\r")
            if value and len(content) <= MAX_BYTES:
                return value
            failure = "it is empty" if not value else f"it is larger than {MAX_BYTES} bytes"
        raise ConfigurationError(
            f"the secret file {self.path} cannot be used: {failure}",
            remedy="name a file that holds the secret and that this user may read",
        )

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FileSecret):
            return self.path == other.path
        return NotImplemented

    def __hash__(self) -> int:
        return hash((FileSecret, self.path))

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"FileSecret({str(self.path)!r})"
