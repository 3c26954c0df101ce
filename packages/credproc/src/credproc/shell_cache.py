"""The shortest way to a cached answer: what the launcher, a shell script, reads without Python.

A file `<length>-<last word>-<digest>.fast`, named after the command line, holds

1. how many words, the words and the environment variables that count, joined by tabs,
2. from when until when the answer is good (seconds since the epoch), and the number of files,
3. the answer's JSON,
4. for each file involved its path, and in the next line what `stat` says of it.

It is as sound as `credproc.shortcut`: the launcher has `stat`, the one program that it starts, tell
device, inode, size and times of every file to the nanosecond, links followed, and the owners and
modes of the directory, of what is above it and of the file itself. A `stat` that writes anything
else than GNU's and BusyBox's do, or a line that cannot be told apart by its text, leaves the
question to Python.
"""

from __future__ import annotations

import os
import time

from credproc.cache_key import fingerprint, involved_files
from credproc.flags import FLAGS
from credproc.light import TYPE_CHECKING
from credproc.shortcut import CLOCK_TOLERANCE, ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from credproc.cache import CachedSession, SessionCache
    from credproc.options import SessionOptions

FAST = ".fast"
CONFIG_VARIABLE = "CREDPROC_CONFIG"
LONGEST_NAME = 64
"""The part of a command line that a file is named after is not longer than that."""


def variables() -> list[str]:
    """Return the environment variables that count, in the launcher's order."""
    return [
        *(name.decode() for name in ENVIRONMENT),
        CONFIG_VARIABLE,
        *(flag.variable for flag in FLAGS if not flag.secret),
    ]


def question(words: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return a command line and its environment as one line; None if that is ambiguous."""
    parts = [str(len(words)), "\t".join(words), *(environ.get(name, "") for name in variables())]
    line = "\t".join(parts)
    expected = max(len(words) - 1, 0) + len(variables()) + 1
    printable = line.isascii() and line.replace("\t", "").isprintable()
    return line if printable and line.count("\t") == expected else None


def fast_name(words: Sequence[str], line: str) -> str:
    """Return the file's name: one for each command line, found without reading many others.

    Args:
        words: The command line.
        line: The same as `question` gives it.
    """
    last = words[-1] if words else ""
    length = len(last)
    while length and last[length - 1].isalnum():
        length -= 1
    return f"{len(line)}-{last[length:]}-{fingerprint(line.encode())}{FAST}"


def store_fast(
    cache: SessionCache,
    *,
    session: CachedSession,
    options: SessionOptions,
    words: Sequence[str],
    files: Sequence[str],
) -> None:
    """Let the launcher answer the next run of the same command line by itself.

    Args:
        cache: Where the answer is cached.
        session: The answer.
        options: What the command line led to.
        words: The command line, without a password.
        files: Further files whose change has to be noticed.
    """
    line = question(words, os.environ)
    if line is None:
        return
    name = fast_name(words, line)
    if name.index("-", name.index("-") + 1) > LONGEST_NAME:
        return
    involved = [*involved_files(options), *files]
    if not all(path.isascii() and path.isprintable() for path in involved):
        return
    lines = [
        line,
        f"{session.stored_at - CLOCK_TOLERANCE} {session.fresh_until} {len(involved)}",
        session.credentials.to_json(),
    ]
    try:
        for path in involved:
            lines += [path, stat_line(path)]
    except OSError:
        return
    content = "\n".join([*lines, ""]).encode()
    cache.keep(f"{cache.directory}/{name}", content, until=session.fresh_until)


def stat_line(path: str) -> str:
    """Return what `TZ=UTC0 stat -L -c '%u %f %h %Z %d %i %s %y %z'` says of a file.

    Raises:
        OSError: It is not there.
    """
    status = os.stat(path)
    changed = status.st_ctime_ns // 1_000_000_000
    return (
        f"{status.st_uid} {status.st_mode:x} {status.st_nlink} {changed} {status.st_dev} "
        f"{status.st_ino} {status.st_size} {_time_text(status.st_mtime_ns)} "
        f"{_time_text(status.st_ctime_ns)}"
    )


def _time_text(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{rest:09d} +0000"
