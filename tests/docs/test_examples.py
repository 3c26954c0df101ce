"""Every Python and TOML example of the documentation does what it shows, against a real sandbox."""

from __future__ import annotations

import ast
import contextlib
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kombu
import pytest
from celery import Celery
from celery.app.defaults import NAMESPACES, flatten

from celery_mqauth.connection import RotatingConnection
from celery_mqauth.endpoints import source_for
from mqauth.shared import shared_source
from tests.docs.conftest import Place, inherited
from tests.docs.documents import PAGES, ROOT, Block, blocks

SANDBOX = ROOT / "packages" / "mqauth-sandbox" / "README.md"
DJANGO = ROOT / "packages" / "django-mqauth" / "README.md"
SETTINGS = {name for name, _ in flatten(NAMESPACES)}
URLS = ("broker_url", "broker_read_url", "broker_write_url")
USUAL = {"broker_url": "mqauths://oauth2@rabbit.example.com/prod"}
LIMIT = 60.0


def examples(language: str) -> list[Block]:
    """Return all blocks in a language."""
    return [block for block in blocks(*PAGES) if block.language == language]


def is_configuration(block: Block) -> bool:
    """Return whether a block does nothing but assign settings."""
    return all(isinstance(node, ast.Assign) for node in ast.parse(block.text).body)


def names_after(text: str, folder: Path) -> dict[str, Any]:
    """Run Python code and return the names that it leaves behind."""
    file = folder / "example.py"
    file.write_text(text)
    names = runpy.run_path(str(file))
    return {name: value for name, value in names.items() if not name.startswith("__")}


# Settings of Django and what runs under them are tried by test_django.py.
PYTHON = [block for block in examples("python") if block.page != DJANGO]
CONFIGURATIONS = [block for block in PYTHON if is_configuration(block)]
PROGRAMS = [
    block
    for block in PYTHON
    if not is_configuration(block) and block.page != SANDBOX and "acme" not in block.text
]


def test_no_other_language_is_left_out() -> None:
    """Each fenced block is of a kind that some test here looks at."""
    # The tests of credproc run its `shell-session` blocks.
    known = {"", "python", "toml", "sh", "console", "shell-session"}
    assert {block.language for block in blocks(*PAGES)} <= known


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_program_runs(block: Block, place: Place, tmp_path: Path) -> None:
    """A program runs to its end, with warnings as errors, and keeps its secrets to itself."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", place.fill(block.text)],
        env={**inherited(), **place.environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "eyJ" not in done.stdout + done.stderr


def test_the_rest_is_run_elsewhere() -> None:
    """What is not run here parses, and is either the sandbox's or that of a third party's provider.

    The sandbox's own tests run its examples, and test_own_provider.py the provider.
    """
    rest = [block for block in PYTHON if block not in CONFIGURATIONS + PROGRAMS]
    assert {block.section for block in rest} == {
        "In Python",
        "In pytest",
        "Write your own provider",
    }
    for block in rest:
        compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_configuration_signs_in(
    block: Block, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each setting is one of Celery's, and Celery signs in with it wherever it leads."""
    settings = names_after(place.fill(block.text), tmp_path)
    assert settings.keys() <= SETTINGS
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    if not settings.keys() & set(URLS):
        settings |= {name: place.fill(url) for name, url in USUAL.items()}
    app = Celery(set_as_current=False)
    app.conf.update(settings)
    with contextlib.closing(app):
        for connection in (app.connection_for_read(), app.connection_for_write()):
            check_sign_in(connection)


def check_sign_in(connection: kombu.Connection) -> None:
    """Sign in, or where the broker is AWS's, get the credential for it."""
    if str(connection.hostname).endswith((".on.aws", ".amazonaws.com")):
        assert source_for(connection).source.get().principal
        return
    with connection:
        assert isinstance(connection.connect(), RotatingConnection)
        for url in connection.alt:
            connection.switch(url)
            assert isinstance(connection.connect(), RotatingConnection)


@pytest.mark.parametrize("block", examples("toml"), ids=str)
def test_toml_is_understood(
    block: Block, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """TOML parses; each named entry gets a credential."""
    text = place.fill(block.text)
    entries = tomllib.loads(text)
    if "project" in entries:
        return  # a package's own metadata, which test_own_provider.py uses
    file = tmp_path / "mqauth.toml"
    file.write_text(text)
    for name, value in {**place.environment, "MQAUTH_CONFIG": str(file)}.items():
        monkeypatch.setenv(name, value)
    for entry in entries:
        assert shared_source(entry).source.get().remaining() > 0
