"""The `celery mqauth` command."""

from __future__ import annotations

import click


@click.group()
def mqauth() -> None:
    """Look after the broker credentials of an app."""
