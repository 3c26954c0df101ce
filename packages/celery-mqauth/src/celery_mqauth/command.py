"""The `celery mqauth` command.

Celery loads this module in every run of `celery`, worker and inspect included, which is how
`celery inspect mqauth` becomes known to both.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import click

from celery_mqauth import remote_control

__all__ = ["mqauth", "remote_control"]

NO_WORKER = 69  # EX_UNAVAILABLE, as `celery status` and `celery inspect` end


_ELSEWHERE = {
    "doctor": "celery_mqauth.doctor_command",
    "scopes": "celery_mqauth.scopes_command",
}


def _time_limit(ctx: click.Context, param: click.Parameter, value: float) -> float:
    # Loaded where it is needed: Celery loads this module in every process.
    from mqauth.cli.option_arguments import time_limit  # noqa: PLC0415

    return time_limit(ctx, param, value)


def _note_json(ctx: click.Context, param: click.Parameter, value: bool) -> bool:  # noqa: FBT001
    from mqauth.cli.output import note_json  # noqa: PLC0415 - as above

    return note_json(ctx, param, value)


class _Commands(click.Group):
    """Loads subcommands when they are asked for: a worker that starts needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand by its name."""
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(import_module(_ELSEWHERE[cmd_name]), cmd_name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; show an error as one line, to programs in JSON too."""
        from kombu.exceptions import OperationalError  # noqa: PLC0415 - see the class

        from mqauth.cli.log_lines import log_lines  # noqa: PLC0415
        from mqauth.cli.output import print_failure  # noqa: PLC0415
        from mqauth.errors import MQAuthError  # noqa: PLC0415

        try:
            with log_lines(verbose=bool(ctx.params.get("verbose")), debug=False):
                return super().invoke(ctx)
        except MQAuthError as error:
            code = print_failure(ctx, error)
        except OperationalError as error:
            code = print_failure(ctx, error, code=NO_WORKER)
        raise click.exceptions.Exit(code)


@click.group(cls=_Commands)
@click.option("--verbose", "-v", is_flag=True, help="Show what is logged, on stderr.")
def mqauth(*, verbose: bool) -> None:
    """Look after the broker credentials of an app.

    Example: celery -A proj mqauth status
    """
    del verbose  # looked at where the subcommand is run


@mqauth.command()
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=_note_json,
    help="Print one JSON object.",
)
@click.option(
    "-t",
    "--timeout",
    callback=_time_limit,
    default=2.0,
    show_default=True,
    help="Seconds to wait for workers.",
)
@click.pass_context
def status(ctx: click.Context, *, as_json: bool, timeout: float) -> None:
    r"""Show every worker's credentials: who signs in, time left, rotations, failures.

    \b
    Examples:
      celery -A proj mqauth status
      celery -A proj mqauth status --json | jq
    """
    replies = ctx.obj.app.control.inspect(timeout=timeout)._request("mqauth")  # noqa: SLF001
    if as_json:
        click.echo(json.dumps(replies or {}))
    elif replies:
        for worker, reply in sorted(replies.items()):
            for line in _lines(worker, reply):
                click.echo(line)
    if not replies:
        click.echo(
            f"no worker answered within {timeout:g} s (is one running, with remote control on?)",
            err=True,
        )
        ctx.exit(NO_WORKER)


def _lines(worker: str, reply: dict[str, Any]) -> list[str]:
    sources = reply.get("sources")
    if sources is None:
        return [f"{worker}: {reply.get('error', 'no answer')}"]
    return [f"{worker}: {_describe(source)}" for source in sources] or [
        f"{worker}: signs in without mqauth"
    ]


def _describe(source: dict[str, Any]) -> str:
    parts = [source["identity"], _time_left(source["expires_at"])]
    parts += [f"{source[count]} {count}" for count in ("rotations", "fetches", "failures")]
    if source["last_error"]:
        parts.append(f"last error: {source['last_error']}")
    return ", ".join(parts)


def _time_left(expires_at: str | None) -> str:
    if expires_at is None:
        return "never expires"
    from mqauth.durations import duration  # noqa: PLC0415 - only this command needs it

    left = (datetime.fromisoformat(expires_at) - datetime.now(UTC)).total_seconds()
    return f"expires in {duration(left)}" if left > 0 else f"expired {duration(left)} ago"
