"""What may be installed and need not be."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def has_kombu() -> bool:
    """Return whether connections can be opened: Kombu and its mqauth transports."""
    return _installed("kombu", "celery_mqauth")


def has_celery() -> bool:
    """Return whether there can be workers: Celery and its integration."""
    return _installed("celery", "celery_mqauth")


def _installed(*names: str) -> bool:
    return all(_is_there(name) for name in names)


def _is_there(name: str) -> bool:
    # Kombu replaces its own module by one that find_spec refuses to look at.
    if name in sys.modules:
        return sys.modules[name] is not None
    return find_spec(name) is not None
