"""Tables that fit: wrapped on a terminal, one line a row where they are piped."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

import click

from mqauth.cli.printable import printable

_GAP = 2
_LEAST = 12
_MARKS = "./:@"


def line_width() -> int | None:
    """Return the columns there are to print on; None where nobody counts them.

    COLUMNS says it for pipes too.
    """
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return max(shutil.get_terminal_size().columns, 40)
    return None


def table_lines(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None
) -> list[list[str]]:
    """Return a table's rows, the head first, each as the lines that it takes."""
    shown = [list(map(printable, row)) for row in (head, *rows)]
    widths = _widths([list(map(len, row)) for row in shown], width)
    return [_row_lines(row, widths) for row in shown]


def print_wrapped_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    colours: Sequence[str | None] = (),
    *,
    width: int | None = None,
) -> None:
    """Print a table, a colour for each row if any; `width` is by default that of the terminal."""
    lines = table_lines(head, rows, line_width() if width is None else width)
    for line in lines[0]:
        click.echo(click.style(line, bold=True))
    for number, row in enumerate(lines[1:]):
        colour = colours[number] if number < len(colours) else None
        for line in row:
            click.echo(click.style(line, fg=colour) if colour else line)


def wrapped(text: str, indent: str = "", *, width: int | None = None) -> str:
    """Return a text wrapped to the terminal's columns.

    Args:
        text: The text.
        indent: Blanks before lines after the first, which stands behind as many columns already.
        width: The columns; by default the terminal's.
    """
    text, columns = printable(text), line_width() if width is None else width
    if columns is None:
        return text
    lines = textwrap.wrap(
        text, columns, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return "\n".join(lines)[len(indent) :]


def _widths(lengths: list[list[int]], width: int | None) -> list[int]:
    widths = [max(column) for column in zip(*lengths, strict=True)]
    if width is None:
        return widths
    spare = width - _GAP * (len(widths) - 1)
    while sum(widths) > spare:
        widest = max(range(len(widths)), key=lambda index: widths[index])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    return widths


def _row_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [_cell(text, width) for text, width in zip(row, widths, strict=True)]
    height = max(map(len, cells))
    padded = [cell + [""] * (height - len(cell)) for cell in cells]
    return [
        (" " * _GAP)
        .join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        .rstrip()
        for line in zip(*padded, strict=True)
    ]


def _cell(text: str, width: int) -> list[str]:
    """Wrap a cell; a word that is too long, such as a scope, is cut behind one of its marks."""
    if not width:
        return [""]
    pieces = []
    for word in text.split():
        rest = word
        while len(rest) > width:
            cut = max(rest.rfind(mark, 0, width) for mark in _MARKS) + 1 or width
            pieces.append(rest[:cut])
            rest = rest[cut:]
        pieces.append(rest)
    return textwrap.wrap(" ".join(pieces), width, break_on_hyphens=False) or [""]
