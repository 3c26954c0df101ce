"""After an answer: lets the next run of the same command line take a shorter way to it."""

from __future__ import annotations

import os

from credproc import shortcut
from credproc.cache_key import involved_files
from credproc.flags import FLAGS
from credproc.light import TYPE_CHECKING
from credproc.shell_cache import store_fast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from credproc.cache import SessionCache
    from credproc.options import SessionOptions

SECRET_FLAGS = tuple(f"--{flag.name}" for flag in FLAGS if flag.secret)
ENDPOINT = "--endpoint"
PIN = "pin-value"
"""The attribute of a PKCS#11 URI that gives a PIN in clear."""

ALIAS_KEPT = 12 * 3600
"""Seconds for which it is of use beyond the session, as it leads to the next one as well."""


def remember(
    cache: SessionCache,
    key: str,
    options: SessionOptions,
    words: Sequence[str],
    config: str | None = None,
) -> None:
    """Write both short cuts: the launcher's and that of `credproc.shortcut`.

    Neither where the line or its environment holds a password, because both repeat them in a file.

    Args:
        cache: Where the answer is.
        key: Its key.
        options: What the command line led to.
        words: The command line.
        config: The file of named profiles, if the line names one.
    """
    session = cache.load(key)
    if session is None or options.debug or holds_secret(words, os.environ):
        return
    further = [config] if config is not None else []
    material = shortcut.alias_material(list(words), dict(os.environb))
    files = [*involved_files(options), *further]
    cache.store_alias(material, key, files, until=session.fresh_until + ALIAS_KEPT)
    if options.cache_dir is None or "CREDPROC_CACHE_DIR" in os.environ:
        store_fast(cache, session=session, options=options, words=words, files=further)


def holds_secret(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Return whether a command line, or a variable that counts, gives a password away."""
    texts = list(words)
    for name, value in environ.items():
        if os.fsencode(name) in shortcut.ENVIRONMENT or name.startswith("CREDPROC_"):
            # A variable that names an endpoint is as the flag, which takes a URL without a scheme.
            texts += [ENDPOINT, value] if "ENDPOINT" in name else [value]
    before = ""
    for text in texts:
        name, _, value = text.partition("=")
        if name.startswith(SECRET_FLAGS) or PIN in text.lower():
            return True
        url = value if name == ENDPOINT else text
        if "@" in (url if ENDPOINT in (name, before) else _authority(url)):
            return True
        before = text
    return False


def _authority(text: str) -> str:
    """Return the part of a URL that may name a user (RFC 3986, 3.2), empty if it is none."""
    return text.partition("://")[2].partition("/")[0]
