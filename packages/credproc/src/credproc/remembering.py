"""After an answer: lets the next run of the same command line take a shorter way to it."""

from __future__ import annotations

import os

from credproc import shortcut
from credproc.cache_key import involved_files
from credproc.flags import FLAGS
from credproc.light import TYPE_CHECKING
from credproc.shell_cache import store_fast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from credproc.cache import SessionCache
    from credproc.options import SessionOptions

SECRET_FLAGS = tuple(f"--{flag.name}" for flag in FLAGS if flag.secret)


def remember(
    cache: SessionCache,
    key: str,
    options: SessionOptions,
    words: Sequence[str],
    config: str | None = None,
) -> None:
    """Write both short cuts: the launcher's and that of `credproc.shortcut`.

    Neither where the line holds a password, because both repeat the line in a file.

    Args:
        cache: Where the answer is.
        key: Its key.
        options: What the command line led to.
        words: The command line.
        config: The file of named profiles, if the line names one.
    """
    session = cache.load(key)
    if session is None or options.debug or any(word.startswith(SECRET_FLAGS) for word in words):
        return
    further = [config] if config is not None else []
    material = shortcut.alias_material(list(words), dict(os.environb))
    cache.store_alias(material, key, [*involved_files(options), *further])
    if options.cache_dir is None or "CREDPROC_CACHE_DIR" in os.environ:
        store_fast(cache, key, session=session, options=options, words=words, files=further)
