"""Blocking calls in programs whose standard library gevent or eventlet has replaced.

The signer speaks to sockets that no monkey patching reaches (`credproc.wire`), so there it runs on
a real thread, and the other green threads go on meanwhile.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_beside(call: Callable[[], _T]) -> _T:
    """Return what `call` returns or raise what it raises; only the calling green thread waits."""
    runner = _runner()
    return call() if runner is None else runner(call)


def are_threads_green() -> bool:
    """Whether what the standard library calls a thread is a green one."""
    return _runner() is not None


def _runner() -> Callable[[Callable[[], Any]], Any] | None:
    """Return what makes a call on a real thread, if there are others."""
    runner: Callable[[Callable[[], Any]], Any] | None = None
    gevent_monkey: Any = sys.modules.get("gevent.monkey")
    eventlet_patcher: Any = sys.modules.get("eventlet.patcher")
    if gevent_monkey is not None and gevent_monkey.is_module_patched("socket"):
        runner = sys.modules["gevent"].get_hub().threadpool.apply
    elif eventlet_patcher is not None and eventlet_patcher.is_monkey_patched("socket"):
        runner = importlib.import_module("eventlet.tpool").execute
    return runner
