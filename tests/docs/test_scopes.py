"""The scopes that the documentation calls enough are enough, on a real broker."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from mqauth_sandbox import Sandbox
from tests.docs.conftest import Place, Project, inherited, project
from tests.docs.documents import ROOT, Block, blocks

CELERY = ROOT / "packages" / "celery-mqauth" / "README.md"
SECTION = "Scopes Celery needs"
SCOPE = re.compile(r"rabbitmq\.(configure|write|read):[^/\s]+/\S+")
SETTINGS = 'broker_url = "mqauths://oauth2@rabbit.example.com/prod"\n'

Trial = Callable[..., AbstractContextManager[Project]]


def in_section(language: str) -> list[Block]:
    """Return the section's blocks in a language."""
    return [b for b in blocks(CELERY) if b.section == SECTION and b.language == language]


def documented_scopes() -> tuple[list[str], list[str]]:
    """Return the simplest list of scopes and the least."""
    simplest, least = (block.text.split() for block in in_section(""))
    assert all(SCOPE.fullmatch(scope) for scope in simplest + least)
    return simplest, least


@pytest.fixture
def trial(place: Place, mqauth_sandbox: Sandbox, tmp_path: Path) -> Trial:
    """Return a context manager: a worker whose tokens have certain scopes, and what it takes."""

    @contextlib.contextmanager
    def run(scopes: list[str], *options: str, settings: str = "") -> Iterator[Project]:
        mqauth_sandbox.issuer.scopes = scopes
        settings = place.fill(SETTINGS) + settings
        proj = project(tmp_path, {**inherited(), **place.environment}, settings)
        start = mqauth_sandbox.broker.log_size()
        worker = proj.worker(*options)
        try:
            sent = proj.run("celery", "-A", "proj", "call", "proj.add", "--args", "[1, 2]")
            assert sent.returncode == 0, sent.stderr
            worker.wait_for_line("succeeded")
            yield proj
            assert worker.exit_code is None
            assert worker.lines_with("Traceback") == []
            assert "refused" not in mqauth_sandbox.broker.log_text(start)
        finally:
            worker.close()

    return run


def test_the_least_scopes_are_enough(trial: Trial) -> None:
    """A worker with events, gossip and remote control works, and answers, with the least list."""
    _, least = documented_scopes()
    with trial(least, "-E") as proj:
        answer = proj.run("celery", "-A", "proj", "inspect", "--timeout", "5", "mqauth")
        assert answer.returncode == 0, answer.stdout


def test_a_quiet_worker_needs_no_topics(trial: Trial) -> None:
    """With scopes of two segments a worker works as the documentation has it started."""
    (command,) = in_section("sh")
    (settings,) = in_section("python")
    options = shlex.split(command.text)
    assert options[:4] == ["celery", "-A", "proj", "worker"]
    simplest, _ = documented_scopes()
    scopes = [scope.removesuffix("/*") for scope in simplest]
    assert all(scope.endswith(":*/*") for scope in scopes)
    with trial(scopes, *options[4:], settings=settings.text):
        pass


def test_the_simplest_scopes_are_the_sandbox_s(mqauth_sandbox: Sandbox) -> None:
    """The simplest list is what all other workers of these tests run with."""
    simplest, _ = documented_scopes()
    assert {*simplest, "rabbitmq.tag:administrator"} == set(mqauth_sandbox.issuer.scopes)
