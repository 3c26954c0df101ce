"""What the log says while a command runs: only what its own error does not say, unless asked."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import click

from mqauth.cli.printable import printable

# Each failed attempt is announced for those who watch a service; a command ends with that failure.
_TOLD_BY_THE_ERROR = ("mqauth.rotation.announcements", "mqauth.rotation.source")

_log = logging.getLogger("mqauth")


class _OnStderr(logging.Handler):
    """Writes records on stderr, by default those alone that no error repeats."""

    def __init__(self, *, everything: bool) -> None:
        super().__init__()
        self._everything = everything

    def emit(self, record: logging.LogRecord) -> None:
        if not self._everything and record.name in _TOLD_BY_THE_ERROR:
            return
        line = f"{record.levelname.capitalize()}: {printable(record.getMessage())}"
        traceback = (
            f"\n{logging.Formatter().formatException(record.exc_info)}"
            if (self._everything and record.exc_info)
            else ""
        )
        click.echo(line + traceback, err=True)


@contextlib.contextmanager
def log_lines(*, verbose: bool, debug: bool) -> Iterator[None]:
    """Show mqauth's log on stderr for as long as this lasts.

    Args:
        verbose: Show what happens to credentials, too.
        debug: Show everything. Other libraries' logs stay out: they may hold a token.
    """
    handler, level = _OnStderr(everything=verbose or debug), _log.level
    _log.addHandler(handler)
    if verbose or debug:
        _log.setLevel(logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        _log.setLevel(level)
        _log.removeHandler(handler)
