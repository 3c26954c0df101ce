"""`celery mqauth` where there is nothing to tell about: one line, and no more unless asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import celery
import pytest
from click.testing import CliRunner

from celery_mqauth.command import mqauth
from celery_mqauth.status_command import _describe
from mqauth import CredentialSource
from tests.separate_streams import runner

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


@pytest.mark.parametrize(
    ("words", "as_json", "code"),
    [("status", "--json", 69), ("scopes --check", "--format json", 4)],
)
def test_an_error_is_the_only_line(tmp_path: Path, words: str, as_json: str, code: int) -> None:
    """No traceback, and nothing of the log, which says the same; --verbose shows it.

    Programs that ask for JSON get the error as one object, too.
    """
    (tmp_path / "proj.py").write_text(PROJECT)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "MQAUTH_"))}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "proj", "mqauth", *words],
            cwd=tmp_path,
            env={**environment, "MQAUTH_CACHE": "off"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done

    done = run(*words.split())
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    assert line.startswith("Error: ")
    assert "Connection refused" in line
    assert any(
        "Warning: oauth2 client celery" in line
        for line in run("--verbose", *words.split()).stderr.splitlines()
    )
    done = run(*words.split(), *as_json.split())
    assert done.stderr.splitlines() == [line]
    told = json.loads(done.stdout)
    assert (told["ok"], told["exit_code"]) == (False, code)
    assert line == f"Error: {told['error']}" + (f" ({told['remedy']})" if told["remedy"] else "")


@pytest.mark.parametrize("words", ["status --json", "doctor --json", "scopes --format json"])
@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("mqauth://oauth2:s3cret/B@localhost:1//", "cannot be read"),
        ("nosuch://localhost", "knows no such transport"),
        ("mqauth://oauth2@localhost:1//?secret=s3cret", "parameters that mqauth does not read: "),
    ],
)
def test_a_url_that_kombu_cannot_read(words: str, url: str, wrong: str) -> None:
    """One line and one JSON object, and nothing of what may be a password."""
    app = celery.Celery("proj", broker=url, set_as_current=False)
    done = runner().invoke(mqauth, words.split(), obj=SimpleNamespace(app=app))
    assert done.exit_code not in (0, 1)
    assert not isinstance(done.exception, KeyError | ValueError)
    assert wrong in json.dumps(json.loads(done.stdout))
    assert "s3cret" not in done.output
    assert len(done.stderr.splitlines()) <= 1


@pytest.mark.parametrize("scheme", ["mqauth-kafka", "mqauths-kafka"])
def test_no_worker_is_asked_over_kafka(scheme: str) -> None:
    """It has no remote control, so that a worker that runs could not answer either."""
    app = celery.Celery("proj", broker=f"{scheme}://oauth2@localhost", set_as_current=False)
    done = runner().invoke(mqauth, ["status", "--json"], obj=SimpleNamespace(app=app))
    told = json.loads(done.stdout)
    assert (done.exit_code, told["exit_code"]) == (2, 2)
    assert "no remote control" in told["error"]


@pytest.mark.parametrize("name", ["doctor", "scopes", "status"])
def test_help_shows_each_example_on_a_line(name: str) -> None:
    """They can be copied."""
    shown = CliRunner().invoke(mqauth, [name, "--help"]).output
    examples = shown.partition("Examples:\n")[2].splitlines()
    assert len(examples) >= 2
    for line in examples:
        assert line.strip().startswith(f"celery -A proj mqauth {name}"), line
    assert "\\b" not in shown


def test_an_identity_without_a_credential_has_none_that_lasts() -> None:
    """A source that never got a credential is not told to have one that never expires."""
    config = {"provider": "static", "username": "celery", "password": "s3cret"}
    source = CredentialSource.from_config(config)
    assert "static user celery, no credential, " in _describe(source.status().as_dict())
    source.get()
    assert "static user celery, never expires, " in _describe(source.status().as_dict())
