"""Keeps AWS's libraries from logging credentials while they fetch ours.

At DEBUG botocore logs whole answers (`SecretAccessKey`, `WebIdentityToken`), signed headers with
session tokens, and what metadata services and credential processes say. Which lines hold a secret
changes from release to release, so none of them is let through: during our calls, and only during
ours, these loggers say nothing below WARNING, and above it no traceback, whose frames hold it all.

urllib3 logs nothing but request lines, and our URLs hold no secret: it may speak.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LIBRARIES = ("boto3", "botocore")

# A context variable follows the thread, or the green thread, that runs our call.
_active: ContextVar[bool] = ContextVar("mqauth_quiet", default=False)


class _DuringOurCalls(logging.Filter):
    """Withholds records that are logged while one of our calls runs in the same context."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not _active.get():
            return True
        record.exc_info = record.exc_text = record.stack_info = None
        return record.levelno >= logging.WARNING


_FILTER = _DuringOurCalls()


@contextmanager
def quiet() -> Iterator[None]:
    """Withhold what AWS's libraries log in this context until the block ends."""
    _install()
    token = _active.set(True)
    try:
        yield
    finally:
        _active.reset(token)


def _install() -> None:
    # A logger's filter does not hold for its children, and libraries import modules, and with them
    # loggers, as they go: each time, all that exist by now. Adding it twice changes nothing.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LIBRARIES:
            logging.getLogger(name).addFilter(_FILTER)
