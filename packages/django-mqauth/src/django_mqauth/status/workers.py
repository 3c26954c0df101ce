"""All workers at a glance: asked once for all who look, summed up, and handed out in pages."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from django_mqauth import conf, defaults
from django_mqauth.optional import has_celery
from django_mqauth.workers.asking import Answers, ask_workers
from django_mqauth.workers.replies import WorkerReport

_ORDER = ("expired", "silent", "idle", "unreadable", "failing", "static", "ok")
TROUBLE = frozenset({"expired", "silent", "idle", "unreadable", "failing"})


class _Memo:
    """The latest answers, and one thread at a time that asks for newer ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers = Answers()
        self._at = float("-inf")

    def get(self) -> tuple[Answers, float]:
        """Return the answers and their age in seconds."""
        with self._lock:
            if time.monotonic() - self._at > float(conf.option("ADMIN_REFRESH")):
                self._answers = ask_workers(float(conf.option("ADMIN_TIMEOUT")))
                self._at = time.monotonic()
            return self._answers, time.monotonic() - self._at


_memo = _Memo()


def report(*, page: int, search: str, state: str) -> dict[str, Any]:
    """Return one page of workers and a summary of all of them, as JSON types.

    Args:
        page: Number of the page, from 1 on; one that is not there becomes the nearest.
        search: Part of a worker's name.
        state: A state, `trouble` for all that need somebody, or empty for all.
    """
    if not has_celery():
        return _page([], 1, problem="Celery is not installed: there are no workers to ask")
    answers, _ = _memo.get()
    found = [each for each in answers.workers if _matches(each, search, state)]
    found.sort(key=lambda each: (_ORDER.index(each.state), each.name))
    return {**_page(found, page, answers.problem), "summary": _summary(answers.workers)}


def _page(found: Sequence[WorkerReport], page: int, problem: str | None) -> dict[str, Any]:
    size = defaults.ADMIN_PAGE_SIZE
    pages = max(1, -(-len(found) // size))
    page = min(max(page, 1), pages)
    return {
        "problem": problem,
        "page": page,
        "pages": pages,
        "found": len(found),
        "workers": [each.as_dict() for each in found[(page - 1) * size : page * size]],
        "summary": _summary([]),
    }


def _matches(worker: WorkerReport, search: str, state: str) -> bool:
    if search.lower() not in worker.name.lower():
        return False
    return not state or worker.state == state or (state == "trouble" and worker.state in TROUBLE)


def _summary(workers: Sequence[WorkerReport]) -> dict[str, Any]:
    left = [
        (source.remaining, worker.name)
        for worker in workers
        for source in worker.sources
        if source.remaining is not None
    ]
    soonest = min(left, default=None)
    return {
        "total": len(workers),
        "states": dict(Counter(worker.state for worker in workers)),
        "trouble": sum(worker.state in TROUBLE for worker in workers),
        "rotations": sum(source.rotations for worker in workers for source in worker.sources),
        "failures": sum(source.failures for worker in workers for source in worker.sources),
        "soonest": {"remaining": soonest[0], "worker": soonest[1]} if soonest else None,
    }
