"""The documentation of the Django app: settings, programs, ids and commands, and the example."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqauth_sandbox.ports import free_ports
from tests.celery.processes import Process, wait_until
from tests.docs.conftest import BIN, Place, Up, inherited
from tests.docs.documents import EXAMPLE, ROOT, Block, blocks, code_spans, spans, table, tables
from tests.docs.test_commands import COMMANDS
from workloads.demo_django import PROJECT

README = ROOT / "packages" / "django-mqauth" / "README.md"
SOURCES = ROOT / "packages" / "django-mqauth" / "src" / "django_mqauth"
PYTHON = [block for block in blocks(README) if block.language == "python"]
SETTINGS = [block for block in PYTHON if "MQAUTH = {" in block.text]
PROGRAMS = [block for block in PYTHON if block not in SETTINGS]
USUAL = 'SECRET_KEY = "of this test alone"\nALLOWED_HOSTS = ["*"]\n'
LIMIT = 60.0


def environment(place: Place, folder: Path) -> dict[str, str]:
    """Return the environment of a project in `folder`."""
    (folder / "no_urls.py").write_text("urlpatterns = []\n")
    return {
        **inherited(),
        **place.environment,
        "PYTHONPATH": str(folder),
        "DJANGO_SETTINGS_MODULE": "documented",
        "HEALTH_CHECK_SECRET": "of-this-test",
    }


def python(*arguments: str, variables: dict[str, str], folder: Path) -> str:
    """Run Python, with warnings as errors, and return what it says."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("block", SETTINGS, ids=str)
def test_settings_are_right(block: Block, place: Place, tmp_path: Path) -> None:
    """The system checks have nothing to say about documented settings, and Celery gets a URL."""
    text = f"{USUAL}{place.fill(block.text)}"
    (tmp_path / "documented.py").write_text(text)
    variables = environment(place, tmp_path)
    assert "no issues" in python("-m", "django", "check", variables=variables, folder=tmp_path)
    live = ("-m", "django", "check", "--tag", "mqauth_live")
    if "INSTALLED_APPS" in text:
        assert "no issues" in python(*live, variables=variables, folder=tmp_path)
    shown = python("-m", "django", "diffsettings", variables=variables, folder=tmp_path)
    assert "CELERY_BROKER_URL = 'mqauths://default@localhost" in shown


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_programs_run(block: Block, place: Place, tmp_path: Path) -> None:
    """What stands under the settings runs in a project that has them."""
    (tmp_path / "documented.py").write_text(USUAL + place.fill(SETTINGS[0].text))
    program = f"import django\ndjango.setup()\n{block.text}"
    said = python("-c", program, variables=environment(place, tmp_path), folder=tmp_path)
    assert "eyJ" not in said


def test_all_ids_are_documented() -> None:
    """The table has each id that the checks can give, and no other."""
    found = set()
    for file in SOURCES.glob("checks/*.py"):
        calls = re.findall(r"\b(error|warning|from_error)\(\s*(\d+)", file.read_text())
        found |= {f"mqauth.{'W' if kind == 'warning' else 'E'}{int(n):03}" for kind, n in calls}
    found.add("mqauth.E008")  # chosen at run time, with E007
    found.add("mqauth.E007")
    documented = [code_spans(cell)[0] for cell in table(README, "System checks").column(0)]
    assert set(documented) == found
    assert documented == sorted(documented)


def test_all_settings_are_documented() -> None:
    """The tables have each key of an alias and each setting."""
    from django_mqauth import conf  # noqa: PLC0415 - imports Django

    keys, settings = (found for found in tables(README) if found.section == "Settings")
    assert tuple(code_spans(cell)[0] for cell in keys.column(0)) == conf.KEYS
    documented = {name for cell in settings.column(0) for name in code_spans(cell)}
    names = {*conf.OWN_SETTINGS, *(name.upper() for name in conf.SOURCE_SETTINGS)}
    assert documented == {f"MQAUTH_{name}" for name in names}


WORKERS = {"celery@a,celery@b": f"example@{socket.gethostname()}"}
"""The workers of the pages' example, and the one that is there."""
DOCUMENTED = [c for c in COMMANDS if c.words[:2] == ["python", "manage.py"]]


@pytest.fixture
def by_hand(up: Up, tmp_path: Path) -> dict[str, str]:
    """Return the environment after `. ./sandbox.env` and `unset`."""
    variables = {**inherited(), **up.environment, "SHOP_FOLDER": str(tmp_path)}
    for command in COMMANDS:
        if command.block.page == EXAMPLE and command.words[0] == "unset":
            del variables[command.words[1]]
    return {**variables, "MQAUTH_CACHE": str(tmp_path / "cache"), "PATH": f"{BIN}:{os.defpath}"}


@pytest.fixture
def worker(by_hand: dict[str, str], tmp_path: Path) -> Iterator[Process]:
    """The worker of the example's README, in the foreground."""
    (command,) = [c for c in COMMANDS if c.block.page == EXAMPLE and c.words[0] == "celery"]
    process = Process(
        "worker",
        # A name of its own: other pages' workers may be on the same virtual host.
        ["-m", *command.words, "--hostname", "example@%h"],
        {**by_hand, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"},
        tmp_path,
    )
    try:
        process.wait_for_line("ready.", timeout=LIMIT)
        yield process
    finally:
        process.send(signal.SIGTERM)
        process.wait()
        process.close()


@pytest.mark.timeout(240)
def test_the_example_by_its_readme(
    by_hand: dict[str, str], worker: Process, tmp_path: Path
) -> None:
    """Who follows the example's README has a site that is well, and every command works."""
    followed = [c for c in DOCUMENTED if c.block.page == EXAMPLE]
    others = [c for c in DOCUMENTED if c.block.page != EXAMPLE]
    (port,) = free_ports(1)
    (serve,) = [command for command in followed if command.words[2:] == ["runserver"]]
    followed.remove(serve)
    for command in followed + others:
        words = [WORKERS.get(word, word) for word in command.words[2:]]
        arguments = [str(PROJECT / "manage.py"), *words]
        variables = {**by_hand, "DJANGO_SUPERUSER_PASSWORD": "of-this-test-alone"}
        if "createsuperuser" in arguments:
            arguments.append("--noinput")
        said = python(*arguments, variables=variables, folder=tmp_path)
        assert "eyJ" not in said
    server = Process(
        "server",
        [str(PROJECT / "manage.py"), "runserver", "--noreload", f"127.0.0.1:{port}"],
        {**by_hand, "PYTHONUNBUFFERED": "1"},
        tmp_path,
    )
    try:
        for path in ("/", "/health/dev/pipeline/", "/admin/mqauth/"):
            wait_until(lambda path=path: answers(f"http://localhost:{port}{path}"), LIMIT, path)  # type: ignore[misc]
    finally:
        server.close()


def answers(url: str) -> bool:
    """Return whether a page is there and well."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - this host's
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_example_starts_the_sandbox_as_documented(up: Up) -> None:
    """The sandbox of the example is started as the tests start theirs."""
    (line,) = [span for span in spans(EXAMPLE) if span.startswith("mqauth-sandbox")]
    assert shlex.split(line) == ["mqauth-sandbox", "up", *up.options, ">", "sandbox.env"]
    (sourced,) = [c.words for c in COMMANDS if c.words[0] == "."]
    assert sourced == [".", "./sandbox.env"]
