"""Owner-only temporary directories that do not outlive their process for long."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

_PREFIX = "mqauth-sandbox-"
_OWNER = "owner"


def create_workdir() -> Path:
    """Create a directory that only this user can read, after removing those of dead processes."""
    remove_stale_workdirs()
    path = Path(tempfile.mkdtemp(prefix=_PREFIX))
    (path / _OWNER).write_text(_identity(os.getpid()) or "")
    return path


def remove_workdir(path: Path) -> None:
    """Delete the directory with everything in it."""
    shutil.rmtree(path, ignore_errors=True)


def remove_stale_workdirs() -> list[Path]:
    """Delete directories whose owner is gone (killed before it could do so) and return them."""
    stale = [path for path in workdirs() if not _owner_lives(path)]
    for path in stale:
        remove_workdir(path)
    return stale


def workdirs() -> list[Path]:
    """Return this user's sandbox directories, those of dead processes included."""
    found = []
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid():
                found.append(path)
    return found


def write_private(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    """Write a file that was never readable by anybody else, and return its path.

    One that is there is replaced as a whole: others may be reading it, workers the secret of their
    client, for one.
    """
    descriptor, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            os.fchmod(descriptor, mode)
        return Path(new).rename(path)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise


def owner_of(path: Path) -> int | None:
    """Return the pid of the living process that owns the directory, if there is one."""
    try:
        recorded = (path / _OWNER).read_text()
    except OSError:
        return None
    pid = recorded.partition(" ")[0]
    return int(pid) if pid.isdigit() and _identity(int(pid)) == recorded else None


def _owner_lives(path: Path) -> bool:
    try:
        recorded = (path / _OWNER).read_text()
    except OSError:
        recorded = ""
    if not recorded:  # either just being created by another process, or torn by a crash
        with contextlib.suppress(OSError):
            return _seconds_old(path) < 60
        return True
    return owner_of(path) is not None


def _seconds_old(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _identity(pid: int) -> str | None:
    """Return the pid with the start time of its process, as a pid alone is used again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else f"{pid} {fields[19]}"
