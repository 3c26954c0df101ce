"""How a subcommand of `celery mqauth` that fails ends: one line, and an exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import amqp
import click
from kombu.exceptions import OperationalError

from mqauth.cli.log_lines import log_lines
from mqauth.cli.output import print_failure
from mqauth.errors import MQAuthError

NO_WORKER = 69  # EX_UNAVAILABLE, as `celery status` and `celery inspect` end


@contextlib.contextmanager
def in_one_line(ctx: click.Context, *, verbose: bool) -> Iterator[None]:
    """Show an error as one line on standard error, to programs in JSON too, and end.

    Args:
        ctx: What is run.
        verbose: Whether what is logged is shown, too.

    Raises:
        click.exceptions.Exit: There was an error, with its exit code.
    """
    try:
        with log_lines(verbose=verbose, debug=False):
            yield
    except MQAuthError as error:
        code = print_failure(ctx, error)
    except (OperationalError, amqp.AMQPError) as error:
        # Kombu wraps ours, which has its remedy apart.
        ours = error.__cause__ if isinstance(error.__cause__, MQAuthError) else error
        code = print_failure(ctx, ours, code=NO_WORKER)
    else:
        return
    raise click.exceptions.Exit(code)
