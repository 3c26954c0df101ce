"""`celery mqauth` where there is nothing to tell about: one line, and no more unless asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from celery_mqauth.command import mqauth

PROJECT = """
from celery import Celery

app = Celery("proj", broker="mqauth://oauth2@127.0.0.1/v")
app.conf.broker_transport_options = {
    "auth": {
        "token_endpoint": "http://127.0.0.1:1/token",
        "client_id": "celery",
        "client_secret_file": __file__,
    }
}
"""


@pytest.mark.parametrize(("words", "code"), [("status", 69), ("scopes --check", 4)])
def test_an_error_is_the_only_line(tmp_path: Path, words: str, code: int) -> None:
    """No traceback, and nothing of the log, which says the same; --verbose shows it."""
    (tmp_path / "proj.py").write_text(PROJECT)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "MQAUTH_"))}

    def said(*options: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "proj", "mqauth", *options, *words.split()],
            cwd=tmp_path,
            env={**environment, "MQAUTH_CACHE": "off"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stderr.splitlines()

    (line,) = said()
    assert line.startswith("Error: ")
    assert "Connection refused" in line
    assert any("Warning: oauth2 client celery" in line for line in said("--verbose"))


@pytest.mark.parametrize("name", ["doctor", "scopes", "status"])
def test_help_shows_each_example_on_a_line(name: str) -> None:
    """They can be copied."""
    shown = CliRunner().invoke(mqauth, [name, "--help"]).output
    examples = shown.partition("Examples:\n")[2].splitlines()
    assert len(examples) >= 2
    for line in examples:
        assert line.strip().startswith(f"celery -A proj mqauth {name}"), line
    assert "\\b" not in shown
