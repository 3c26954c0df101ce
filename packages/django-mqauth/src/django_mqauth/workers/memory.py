"""Remembers which workers there were, so that one that falls silent can be named.

In Django's cache, which the processes of a site may share, and in this process besides.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable

from django.core.cache import cache

logger = logging.getLogger("django_mqauth")

KEY = "django_mqauth.workers"
KEPT = 3600.0
"""Seconds for which a worker that nobody has seen is remembered."""
MOST = 5000

_here: dict[str, float] = {}


def known() -> set[str]:
    """Return the names of the workers seen lately."""
    return set(_all())


def update(seen: Iterable[str], gone: Collection[str]) -> None:
    """Note who answered, and forget who signed off."""
    now = time.time()
    found = {**_all(), **dict.fromkeys(seen, now)}
    for name in gone:
        found.pop(name, None)
    newest = sorted(found.items(), key=lambda item: item[1])[-MOST:]
    _here.clear()
    _here.update(newest)
    try:
        cache.set(KEY, dict(newest), KEPT)
    except Exception as error:  # noqa: BLE001 - a cache may fail in any way
        logger.debug("workers are remembered by this process alone: %s", type(error).__name__)


def forget() -> None:
    """Forget all of them."""
    _here.clear()
    cache.delete(KEY)


def _all() -> dict[str, float]:
    since = time.time() - KEPT
    try:
        shared = cache.get(KEY)
    except Exception:  # noqa: BLE001 - the same
        shared = None
    if not isinstance(shared, dict):
        shared = {}
    return {name: at for name, at in {**_here, **shared}.items() if at > since}
