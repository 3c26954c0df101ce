"""How reports look: aligned text for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import click

from mqauth.cli.printable import printable
from mqauth.diagnosis.exit_codes import exit_code
from mqauth.errors import MQAuthError

_WANTS_JSON = "mqauth.cli.json"


def note_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:  # noqa: FBT001
    """Remember whether JSON is wanted, for `print_failure`; callback of an eager option."""
    ctx.meta[_WANTS_JSON] = value
    return value


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,  # before options whose values are judged as they are read
    callback=note_json,
    help="Print JSON.",
)


def examples(*lines: str) -> str:
    """Return the end of a command's help: examples, one to a line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def print_json(content: Any) -> None:
    """Print JSON, moments in ISO 8601."""
    click.echo(json_text(content))


def json_text(content: Any) -> str:
    """Return JSON as it is printed."""
    return json.dumps(content, indent=2, default=_plain)


def print_failure(ctx: click.Context, error: Exception, *, code: int | None = None) -> int:
    """Say in one line on standard error what failed, to programs in JSON too.

    Args:
        ctx: What was run; whether it was asked for JSON.
        error: What ended it.
        code: The exit code; None for that of one of mqauth's errors.

    Returns:
        The exit code.
    """
    failure = error if isinstance(error, MQAuthError) else MQAuthError(str(error))
    code = exit_code(failure) if code is None else code
    if ctx.meta.get(_WANTS_JSON):
        said = {"error": failure.message, "remedy": failure.remedy}
        print_json({"ok": False, "exit_code": code, **said})
    label = click.style("Error:", fg="red", bold=True)
    click.echo(f"{label} {printable(str(failure))}", err=True)
    return code


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one to a line; what is None is left out."""
    for line in fact_lines(facts):
        click.echo(line)


def fact_lines(facts: Mapping[str, object]) -> list[str]:
    """Return names and values as they are printed, names in bold."""
    shown = {name: value for name, value in facts.items() if value is not None}
    width = max((len(name) for name in shown), default=0)
    lines = []
    for name, value in shown.items():
        texts = [text(item) for item in value] if isinstance(value, list) else [text(value)]
        lines.append(f"{click.style(name.ljust(width), bold=True)}  {texts[0] if texts else '-'}")
        lines += [f"{' ' * width}  {each}" for each in texts[1:]]
    return lines


def print_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table with its columns aligned."""
    titles, lines = list(head), [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    for number, line in enumerate([titles, *lines]):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        printed = "  ".join(cells).rstrip()
        click.echo(click.style(printed, bold=True) if number == 0 else printed)


def progress(line: str) -> None:
    """Say what goes on, where it does not mix with a report."""
    click.echo(line, err=True)


def text(value: object) -> str:
    """Return a value as it is shown to people."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S UTC")
    return printable(str(value))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
