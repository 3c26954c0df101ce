"""The shortest way to a cached answer: what the launcher, a shell script, reads without Python.

A file `<length>-<key>.fast` beside the cached answer holds

1. how many words, the words and the environment variables that count, joined by tabs,
2. from when until when the answer is good (seconds since the epoch), and the number of markers,
3. the answer's JSON,
4. for each file involved its path; the marker `<file>.<number>` has the same modification time,
5. the certificate's path, then its content.

It is sound where it is written: the certificate counts by its content, every file by its exact
modification time. The launcher cannot check modes as `credproc.shortcut` does, but it serves only
what the user owns in a directory that the user owns, and only we write there, with mode 0600.
Where a line cannot be told apart by its text, or holds a password, or the certificate is not a
short text, nothing is written, and Python answers.
"""

from __future__ import annotations

import os

from credproc.cache_key import involved_files, is_file
from credproc.flags import FLAGS
from credproc.light import TYPE_CHECKING
from credproc.shortcut import CLOCK_TOLERANCE, ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from credproc.cache import CachedSession, SessionCache
    from credproc.options import SessionOptions

FAST = ".fast"
LONGEST_CERTIFICATE = 8 * 1024
"""The shell reads byte by byte; this takes it two milliseconds."""
CONFIG_VARIABLE = "CREDPROC_CONFIG"


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


def store_fast(
    cache: SessionCache,
    key: str,
    *,
    session: CachedSession,
    options: SessionOptions,
    words: Sequence[str],
    files: Sequence[str],
) -> None:
    """Let the launcher answer the next run of the same command line by itself.

    Args:
        cache: Where the answer is cached.
        key: Its key.
        session: The answer.
        options: What the command line led to.
        words: The command line, without a password.
        files: Further files whose change has to be noticed.
    """
    line = question(words, os.environ)
    certificate = _certificate_text(options)
    if line is None or certificate is None:
        return
    involved = [*involved_files(options), *files]
    if not all(path.isascii() and path.isprintable() for path in involved):
        return
    path = f"{cache.directory}/{len(line)}-{key}{FAST}"
    try:
        for number, name in enumerate(involved):
            _mark(cache, f"{path}.{number}", name)
    except OSError:
        return
    lines = [
        line,
        f"{session.stored_at - CLOCK_TOLERANCE} {session.fresh_until} {len(involved)}",
        session.credentials.to_json(),
        *involved,
        str(options.certificate),
        certificate,
    ]
    cache.keep(path, "\n".join(lines).encode())


def _certificate_text(options: SessionOptions) -> str | None:
    """Return the content of the certificate's file, if the shell can compare it line by line."""
    name = options.certificate
    if name is None or not is_file(name) or not name.isascii() or not name.isprintable():
        return None
    try:
        with open(name, "rb") as file:  # pathlib takes 10 ms to import
            content = file.read(LONGEST_CERTIFICATE + 1)
    except OSError:
        return None
    is_text = content.isascii() and b"\0" not in content and content.endswith(b"\n")
    return content.decode() if is_text and len(content) <= LONGEST_CERTIFICATE else None


def _mark(cache: SessionCache, marker: str, path: str) -> None:
    modified = os.stat(path).st_mtime_ns
    if not cache.keep(marker, b""):
        raise OSError("the marker cannot be written")
    if os.stat(marker).st_mtime_ns != modified:
        os.utime(marker, ns=(modified, modified))
