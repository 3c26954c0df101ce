"""A command line that every SDK reads alike.

botocore splits `credential_process` by Python's shlex and runs it without a shell; the SDKs for Go,
Java, JavaScript, Rust and .NET hand it to `sh -c`. Some of them cut the value at a `#` or `;` that
follows white space. So what would mean something to any of them is either in double quotes, within
which they agree, or refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from credproc.errors import UsageError

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_EXPANDED = frozenset('$`"\\!')
_COMMENT = re.compile(r"\s[#;]")
LONGEST = 8000


def join(words: Sequence[str]) -> str:
    """Return `words` as one command line.

    Raises:
        UsageError: A word cannot be written so that every SDK reads it alike.
    """
    line = " ".join(_quoted(word) for word in words)
    if len(line) > LONGEST:
        raise UsageError("the command is too long for a config file", remedy="use a named profile")
    if shlex.split(line) != list(words):
        raise UsageError("the command cannot be quoted", remedy="use paths of letters and digits")
    return line


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    bad = sorted({letter for letter in word if letter in _EXPANDED or not letter.isprintable()})
    if bad or not word:
        raise UsageError(
            f"{word!r} cannot stand in credential_process: SDKs differ in how they read "
            f"{' '.join(map(repr, bad)) or 'an empty word'}",
            remedy="rename the file, or use an entry of credproc's own config file",
        )
    if _COMMENT.search(word):
        raise UsageError(
            f"{word!r} cannot stand in credential_process: some SDKs take what follows a blank "
            "and # or ; for a comment",
            remedy="rename the file",
        )
    return f'"{word}"'
