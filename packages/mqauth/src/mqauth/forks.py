"""Runs a reset of live objects in a forked child."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_resets: weakref.WeakKeyDictionary[object, Callable[[object], None]] = weakref.WeakKeyDictionary()


def after_in_child(instance: T, reset: Callable[[T], None]) -> None:
    """Call `reset(instance)` in every forked child, for as long as `instance` lives."""
    _resets[instance] = reset  # type: ignore[assignment]  # the key is the argument


def _run_resets() -> None:
    for instance, reset in tuple(_resets.items()):
        reset(instance)


os.register_at_fork(after_in_child=_run_resets)
