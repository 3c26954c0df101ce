"""Queues on a command line, and what a command cannot know of an app's queues."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from celery_mqauth.least.grants import not_counted
from mqauth.cli.tables import wrapped

_OPTIONS = (
    click.option(
        "queues", "-Q", "--queues", help="The queues of the workers, as celery worker takes them."
    ),
    click.option(
        "sent",
        "--queue",
        metavar="NAME",
        multiple=True,
        help="A queue that is only named when tasks are sent, as by apply_async(queue=...), for "
        "producers and beat; may be repeated.",
    ),
    click.option(
        "--without-gossip", is_flag=True, help="Workers are started with --without-gossip."
    ),
    click.option(
        "--without-mingle", is_flag=True, help="Workers are started with --without-mingle."
    ),
)

_SENDERS = frozenset({"producer", "results", "beat"})


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that tell its app's queues and how its workers are started."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def queue_names(text: str | None) -> list[str]:
    """Return the queues of `-Q a,b`, as `celery worker` takes them."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def tell_what_is_not_counted(app: Any, roles: Iterable[str]) -> None:
    """Say on standard error what an app sends that nothing but its run tells.

    Args:
        app: A Celery app.
        roles: The roles that are looked at; nothing is said where none of them sends tasks.
    """
    if _SENDERS.intersection(roles):
        tell(not_counted(app))


def tell(notes: Iterable[str]) -> None:
    """Say on standard error what a command has left out."""
    for note in notes:
        click.echo(f"Note: {wrapped(note, ' ' * 6)}", err=True)
