"""How a subcommand of `celery mqauth` that fails ends: one line, and an exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NoReturn

import click
from kombu.exceptions import OperationalError

from mqauth.cli.log_lines import log_lines
from mqauth.cli.printable import printable
from mqauth.diagnosis.exit_codes import exit_code
from mqauth.errors import MQAuthError

NO_WORKER = 69  # EX_UNAVAILABLE, as `celery status` and `celery inspect` end


@contextlib.contextmanager
def in_one_line(*, verbose: bool) -> Iterator[None]:
    """Show an error as one line on standard error, and end with its exit code.

    Args:
        verbose: Whether what is logged is shown, too.

    Raises:
        click.exceptions.Exit: There was an error.
    """
    try:
        with log_lines(verbose=verbose, debug=False):
            yield
    except MQAuthError as error:
        _end(error, exit_code(error))
    except OperationalError as error:
        _end(error, NO_WORKER)


def _end(error: Exception, code: int) -> NoReturn:
    click.echo(f"Error: {printable(str(error))}", err=True)
    raise click.exceptions.Exit(code) from None
