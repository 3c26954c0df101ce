"""What the log says while a command runs: only what its own error does not say, unless asked."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import click

from mqauth.cli.printable import printable

# Each failed attempt is announced for those who watch a service; a command ends with that failure.
_TOLD_BY_THE_ERROR = (
    "mqauth.rotation.announcements",
    "mqauth.rotation.source",
    "celery_mqauth.kafka.errors",
    "celery_mqauth.kafka.token",
)

# None of them is another's parent: what no handler takes, Python writes on stderr as it is.
_LOGS = [
    logging.getLogger(name) for name in ("mqauth", "celery_mqauth", "django_mqauth", "credproc")
]


class _OnStderr(logging.Handler):
    """Writes records on stderr, by default those alone that no error repeats."""

    def __init__(self, *, everything: bool) -> None:
        super().__init__()
        self._everything = everything

    def emit(self, record: logging.LogRecord) -> None:
        if not self._everything and record.name in _TOLD_BY_THE_ERROR:
            return
        line = f"{record.levelname.capitalize()}: {printable(record.getMessage())}"
        shown = self._everything and record.exc_info
        click.echo("\n".join([line, *(_traceback(record.exc_info) if shown else ())]), err=True)


def _traceback(raised: Any) -> list[str]:
    """Return a traceback's lines, indented: what others wrote in it begins no line of its own."""
    text = logging.Formatter().formatException(raised)
    return [f"  {printable(line)}" for line in text.split("\n")]


@contextlib.contextmanager
def log_lines(*, verbose: bool, debug: bool) -> Iterator[None]:
    """Show the log of mqauth's packages on stderr for as long as this lasts.

    Args:
        verbose: Show what happens to credentials, too.
        debug: Show everything. Other libraries' logs stay out: they may hold a token.
    """
    handler, levels = _OnStderr(everything=verbose or debug), [log.level for log in _LOGS]
    for log in _LOGS:
        log.addHandler(handler)
        if verbose or debug:
            log.setLevel(logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        for log, level in zip(_LOGS, levels, strict=True):
            log.setLevel(level)
            log.removeHandler(handler)
