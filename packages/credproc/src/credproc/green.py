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
    result: _T
    gevent_monkey: Any = sys.modules.get("gevent.monkey")
    eventlet_patcher: Any = sys.modules.get("eventlet.patcher")
    if gevent_monkey is not None and gevent_monkey.is_module_patched("socket"):
        result = sys.modules["gevent"].get_hub().threadpool.apply(call)
    elif eventlet_patcher is not None and eventlet_patcher.is_monkey_patched("socket"):
        result = importlib.import_module("eventlet.tpool").execute(call)
    else:
        result = call()
    return result
