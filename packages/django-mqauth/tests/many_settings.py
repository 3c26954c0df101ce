"""Runs `manage.py check` on one module of settings after the other, each in a process of its own.

Reads a JSON object of sources from standard input and writes one of what was said about each.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import django.core.management
import django.core.management.commands.check
import django.db.models
import django.urls

import django_mqauth.broker
import django_mqauth.checks
import django_mqauth.signals
import mqauth.history
from mqauth.config.registry import provider_class, provider_names

LIMIT = 60
LOADED_BEFORE_THE_FORKS = (
    django.core.management.commands.check,
    django.db.models,
    django.urls,
    django_mqauth.broker,
    django_mqauth.checks,
    django_mqauth.signals,
    mqauth.history,
    [provider_class(name) for name in provider_names()],
)


def said_of(name: str, source: str, folder: Path) -> str:
    """Return what `manage.py check` says about one module of settings."""
    module = folder / f"{name}.py"
    module.write_text(source)
    output = folder / f"{name}.txt"
    child = os.fork()
    if child == 0:
        with output.open("w") as stream:
            sys.stdout = sys.stderr = stream
            signal.alarm(LIMIT)
            os.environ["DJANGO_SETTINGS_MODULE"] = name
            try:
                django.core.management.execute_from_command_line(["manage.py", "check"])
            except SystemExit:
                pass
            except BaseException:  # noqa: BLE001 - a traceback is what is looked for
                traceback.print_exc()
        os._exit(0)
    os.waitpid(child, 0)
    return output.read_text()


def main() -> None:
    """Check all of them."""
    sources = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        said = {
            name: said_of(f"settings_{number}", source, Path(folder))
            for number, (name, source) in enumerate(sources.items())
        }
    json.dump(said, io.TextIOWrapper(sys.stdout.buffer))


if __name__ == "__main__":
    main()
