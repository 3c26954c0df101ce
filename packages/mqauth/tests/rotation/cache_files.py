"""The file of a credential in the host's cache, found and tampered with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534


def credential_file(directory: Path) -> Path:
    """Return the one credential in the cache."""
    (path,) = directory.glob("*.json")
    return path


def change(path: Path, **changes: Any) -> None:
    """Change what stands in a credential's file, without touching its mode."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `path` belong to another user; whoever may not do that becomes another user."""
    try:
        os.chown(path, NOBODY, NOBODY)
    except PermissionError:
        user = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)
