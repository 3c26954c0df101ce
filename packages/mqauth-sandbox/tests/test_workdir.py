"""Files of the sandbox that other processes read while they are written."""

from __future__ import annotations

import stat
from pathlib import Path

from mqauth_sandbox.workdir import write_private


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Who reads a file while it is written anew gets all of the old one, and nothing is left."""
    path = write_private(tmp_path / "secret", "old")
    with path.open() as reader:
        assert write_private(path, b"new", 0o400) == path
        assert reader.read() == "old"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert list(tmp_path.iterdir()) == [path]
