"""Remembers which workers there were, so that one that falls silent can be named.

In Django's cache, which the processes of a site may share, and in this process besides.

No broker tells whether a worker has signed off: its control queue goes with its connection, whoever
ended that. But the connection of a worker that is frozen lasts for a while, until its token or the
broker's patience ends. So a queue that is gone sooner was the worker's own to take away; of one
that is gone later nobody knows, and its worker is missed for `MQAUTH_WORKERS_MISSED` seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from django.core.cache import cache

from django_mqauth import conf

logger = logging.getLogger("django_mqauth")

KEY = "django_mqauth.workers"
KEPT = 3600.0
"""Seconds for which a worker that nobody has seen is remembered."""
MOST = 5000


class Seen(NamedTuple):
    """When what was seen of a worker, in seconds as `time.time()` counts.

    Attributes:
        at: When it answered last.
        lasting: Until when its connection lasts even if it is frozen.
        missed: Since when its control queue is gone, 0 while it is there.
    """

    at: float
    lasting: float = 0.0
    missed: float = 0.0

    def is_missed(self) -> bool:
        """Return whether it has to be asked after though its control queue is gone."""
        now = time.time()
        return now >= self.lasting and now - (self.missed or now) < conf.option("WORKERS_MISSED")


_here: dict[str, Seen] = {}


def known() -> set[str]:
    """Return the names of the workers seen lately."""
    return set(recall())


def update(
    seen: Iterable[str],
    gone: Collection[str],
    *,
    silent: Collection[str] = (),
    missed: Collection[str] = (),
    lasting: Mapping[str, float] | None = None,
) -> None:
    """Note who answered and who did not, and forget who signed off.

    Args:
        seen: Those that answered.
        gone: Those that signed off.
        silent: Those that did not answer though they have a control queue.
        missed: Those that have none any more, and did not sign off as far as is known.
        lasting: For how many seconds each one's connection lasts even if it is frozen from now on.
    """
    now = time.time()
    found = recall()
    for name in seen:
        found[name] = Seen(now, now + (lasting or {}).get(name, 0.0))
    for name in found.keys() & set(silent):
        # Whatever becomes of its queue from now on, it is not a worker's way to sign off.
        found[name] = found[name]._replace(lasting=0.0, missed=0.0)
    for name in found.keys() & set(missed):
        found[name] = found[name]._replace(lasting=0.0, missed=found[name].missed or now)
    for name in gone:
        found.pop(name, None)
    newest = sorted(found.items(), key=lambda item: max(item[1].at, item[1].missed))[-MOST:]
    _here.clear()
    _here.update(newest)
    try:
        cache.set(KEY, {name: tuple(each) for name, each in newest}, KEPT)
    except Exception as error:  # noqa: BLE001 - a cache may fail in any way
        logger.debug("workers are remembered by this process alone: %s", type(error).__name__)


def forget() -> None:
    """Forget all of them."""
    _here.clear()
    cache.delete(KEY)


def recall() -> dict[str, Seen]:
    """Return what is known of the workers seen lately."""
    since = time.time() - KEPT
    try:
        shared = cache.get(KEY)
    except Exception:  # noqa: BLE001 - the same
        shared = None
    # What is shared counts alone: another process may have seen that somebody signed off.
    found = _understood(shared) if isinstance(shared, dict) else _here
    return {name: each for name, each in found.items() if max(each.at, each.missed) > since}


def _understood(shared: Mapping[object, object]) -> dict[str, Seen]:
    """Return what of a cache's content is ours: other releases may have written there as well."""
    return {
        name: Seen(*each)
        for name, each in shared.items()
        if isinstance(name, str)
        and isinstance(each, tuple)
        and len(each) == len(Seen._fields)
        and all(isinstance(moment, float) for moment in each)
    }
