"""Looks for secrets where there must be none."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

TOKEN = re.compile(r"eyJ[\w-]{6,}")
"""How every JSON Web Token begins."""


class Canary:
    """Knows the secrets of a test in all the shapes they travel in.

    Args:
        secrets: Client secrets, access keys; tokens are known by their shape.
        login: A client's id and secret, which HTTP sends as one.
    """

    def __init__(self, secrets: Iterable[str], *, login: tuple[str, str] | None = None) -> None:
        """Prepare the shapes."""
        self._shapes: dict[str, str] = {}
        for secret in secrets:
            self._shapes |= {
                secret: "as it is",
                quote(secret, safe=""): "URL-encoded",
                base64.b64encode(secret.encode()).decode().rstrip("="): "in Base64",
            }
        if login:
            basic = base64.b64encode(":".join(login).encode()).decode()
            self._shapes[basic] = "as HTTP basic authentication"

    def found_in(self, text: str) -> list[str]:
        """Return what `text` gives away, without giving it away once more."""
        found = [how for shape, how in self._shapes.items() if shape in text]
        return found + [f"a token of {len(token)} characters" for token in TOKEN.findall(text)]

    def found_in_command_lines(self) -> list[str]:
        """Return what the arguments of any process on this host give away."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has ended
                continue
            found += [f"{path}: {what}" for what in self.found_in(arguments)]
        return found

    def files_with_secrets(self, folder: Path) -> list[Path]:
        """Return the files under `folder` that hold a secret."""
        found = []
        for path in sorted(folder.rglob("*")):
            with contextlib.suppress(FileNotFoundError):  # one that has just been replaced
                if path.is_file() and self.found_in(path.read_text(errors="replace")):
                    found.append(path)
        return found
