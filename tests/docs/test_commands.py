"""Every command line of the documentation works: it is run, or checked as far as that is kind."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from celery_mqauth.least.roles import ROLES
from mqauth.cli.root import cli as mqauth_command
from mqauth.config.registry import provider_names
from mqauth.config.resolution import resolve
from mqauth.diagnosis.exit_codes import TABLE
from mqauth.diagnosis.findings import EXIT_CODES, KAFKA_EXIT_CODES
from mqauth_sandbox.command import main as sandbox_command
from tests.docs.conftest import Place, Project, Up, inherited, project
from tests.docs.documents import PAGES, ROOT, Block, blocks, tables

CELERY = ROOT / "packages" / "celery-mqauth" / "README.md"
CORE = ROOT / "packages" / "mqauth" / "README.md"
MAKE = shutil.which("make") or "make"
SHELL = {"sh", "console", ""}
WORKLOAD = re.compile(r"-m (workloads\.\w+)(.*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One line for a shell."""

    block: Block
    line: str

    @property
    def words(self) -> list[str]:
        """The line as a shell splits it, without comment."""
        return shlex.split(self.line, comments=True)

    def __str__(self) -> str:
        return f"{self.block}-{' '.join(self.words)}"


def commands() -> Iterator[Command]:
    """Return the lines of all shell blocks; in a `console` block those behind a `$`."""
    for block in blocks(*PAGES):
        if block.language not in SHELL or not (block.language or _is_shell(block)):
            continue
        for line in block.text.splitlines():
            prompt, _, rest = line.partition("$ ")
            if block.language == "console":
                if not prompt:
                    yield Command(block=block, line=rest)
            elif line.strip():
                yield Command(block=block, line=line)


def _is_shell(block: Block) -> bool:
    """Return whether an indented block holds commands; others hold URLs, scopes, pictures."""
    return block.text.startswith(("make", ".venv/bin/"))


COMMANDS = list(commands())


def of(*starts: str, without: str = "kafka://") -> pytest.MarkDecorator:
    """Parametrize a test with the commands that begin so, each once.

    Those on Kafka are run where there is one: tests/celery/test_msk.py.
    """
    chosen = {
        tuple(command.words): command
        for command in COMMANDS
        if any(command.words[: len(start.split())] == start.split() for start in starts)
        and without not in command.line
    }
    assert chosen, f"the documentation has no command like {starts}"
    return pytest.mark.parametrize("command", list(chosen.values()), ids=str)


def test_every_command_is_looked_at() -> None:
    """There is a test for each kind of command: a new kind needs a new test."""
    kinds = {command.words[0] for command in COMMANDS}
    tested = {"make", "pip", "export", "celery", "mqauth", "mqauth-sandbox", ".venv/bin/uv"}
    by_hand = {".", "unset", "python"}  # test_django.py
    assert kinds == tested | by_hand


@of("make")
def test_make_has_the_task(command: Command) -> None:
    """A task exists, and what is passed to a workload is something that it takes."""
    done = subprocess.run(
        [MAKE, "-n", *command.words[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for module, arguments in WORKLOAD.findall(done.stdout):
        check_arguments(import_module(module).main, shlex.split(arguments))


def check_arguments(command: click.Command, arguments: list[str]) -> None:
    """Have click parse arguments; it raises what it would show to a user."""
    if isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(command.name, arguments)


@of("pip install")
def test_pip_installs_what_there_is(command: Command) -> None:
    """A distribution of that name is released from here, and it has the extras."""
    packages = tomllib.loads((ROOT / "monorepo.toml").read_text())["packages"]
    paths = {package["distribution"]: ROOT / package["path"] for package in packages}
    for word in command.words[2:]:
        requirement = Requirement(word)
        project = tomllib.loads((paths[requirement.name] / "pyproject.toml").read_text())["project"]
        assert requirement.extras <= project.get("optional-dependencies", {}).keys()


@of(".venv/bin/uv")
def test_uv_takes_the_arguments(command: Command) -> None:
    """The installer uv has the subcommand and the options."""
    done = subprocess.run(
        [Path(sys.executable).with_name("uv"), *command.words[1:], "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for option in (word for word in command.words if word.startswith("--")):
        assert option in done.stdout


def exports() -> Iterator[dict[str, str]]:
    """Return what each block of `export` lines sets."""
    found: dict[Block, dict[str, str]] = {}
    for command in COMMANDS:
        if command.words[0] == "export":
            name, _, value = command.words[1].partition("=")
            found.setdefault(command.block, {})[name] = value
    yield from found.values()


@pytest.mark.parametrize("variables", list(exports()))
def test_variables_are_understood(
    variables: Mapping[str, str], place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Each exported variable sets an option of a provider."""
    environment = {**place.environment} | {k: place.fill(v) for k, v in variables.items()}
    left = set(variables)
    for provider in provider_names():
        prefix = f"MQAUTH_{provider.upper().replace('-', '_')}_"
        own = {name for name in left if name.startswith(prefix)}
        if own:
            options = resolve(provider, environ=environment).options
            taken = {name.removeprefix(prefix).lower().removesuffix("_file") for name in own}
            assert all(options[name] for name in taken)
            left -= own
    assert left == set()
    assert caplog.text == ""


@of("mqauth providers", "mqauth token", "mqauth completion")
def test_the_command_runs(
    command: Command, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The command does what it says, with the named entries of the documentation, and no secret."""
    (entries,) = [b.text for b in blocks(CORE) if b.language == "toml" and "[billing]" in b.text]
    config = tmp_path / "mqauth.toml"
    config.write_text(place.fill(entries))
    for name, value in {**place.environment, "MQAUTH_CONFIG": str(config)}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(mqauth_command, command.words[1:])
    assert done.exit_code == 0, done.output
    assert done.stdout
    assert "eyJ" not in done.output


@of("mqauth doctor", "mqauth explain")
def test_the_chain_and_the_answer(
    command: Command, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The doctor finds nothing wrong, and an answer is yes or no with its reason."""
    (entries,) = [b.text for b in blocks(CORE) if b.language == "toml" and "[billing]" in b.text]
    config = tmp_path / "mqauth.toml"
    config.write_text(place.fill(entries))
    for name, value in {**place.environment, "MQAUTH_CONFIG": str(config)}.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(mqauth_command, [place.fill(word) for word in command.words[1:]])
    assert done.exit_code in ((0, 3) if command.words[1] == "explain" else (0,)), done.output
    assert "failed" not in done.stdout
    assert "eyJ" not in done.output


def test_the_doctor_s_codes_are_documented() -> None:
    """The codes and links in the README are those that the doctor ends with."""
    (codes,) = [t for t in tables(CORE) if t.head[0] == "code"]
    assert {row[1].strip("`"): int(row[0]) for row in codes.rows} == {
        **EXIT_CODES,
        **KAFKA_EXIT_CODES,
    }


@of("mqauth amazonmq")
def test_the_set_up_takes_the_arguments(command: Command) -> None:
    """The set-up has the arguments; the package's own tests run it against an AWS account."""
    context = mqauth_command.make_context("mqauth", command.words[1:])
    group = mqauth_command.get_command(context, "amazonmq")
    assert isinstance(group, click.Group)
    check_arguments(group, command.words[2:])


@of("mqauth-sandbox")
def test_sandbox_takes_the_arguments(command: Command) -> None:
    """The sandbox has the subcommand and the options."""
    check_arguments(sandbox_command, command.words[1:])


def test_up_runs_as_documented(up: Up) -> None:
    """The options that `up` was started with, for all tests here, are the documented ones."""
    documented = [c.words[2:] for c in COMMANDS if c.words[:2] == ["mqauth-sandbox", "up"]]
    assert list(up.options) in documented


def test_up_prints_a_celery_broker(up: Up) -> None:
    """The printed environment leads Celery to the broker and names files, not secrets."""
    assert up.environment["CELERY_BROKER_URL"].startswith("mqauth://oauth2@localhost:")
    assert "MQAUTH_OAUTH2_CLIENT_SECRET_FILE" in up.environment
    assert "MQAUTH_OAUTH2_CLIENT_SECRET" not in up.environment


@of("celery -A proj inspect", "celery -A proj mqauth status")
def test_celery_tells_about_credentials(command: Command, served_project: Project) -> None:
    """The command is answered by a real worker and says who signs in, for how long, no secret."""
    # A worker that a busy machine holds up does not answer within Celery's one second.
    done = served_project.run(*command.words, "--timeout", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "oauth2 client celery of https://localhost:" in done.stdout
    assert "rotations" in done.stdout
    assert "eyJ" not in done.stdout
    if "--json" in command.words:
        (answer,) = json.loads(done.stdout.splitlines()[0]).values()
        assert answer["sources"][0]["provider"] == "oauth2"


@of("celery -A proj mqauth scopes", "celery -A proj mqauth doctor")
def test_celery_tells_what_it_needs(command: Command, place: Place, tmp_path: Path) -> None:
    """The least is printed for the documented app, and the doctor finds nothing wrong with it."""
    settings = place.fill('broker_url = "mqauths://oauth2@rabbit.example.com/prod"\n')
    proj = project(tmp_path, {**inherited(), **place.environment}, settings)
    done = proj.run(*command.words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("worker: enough" if "--check" in command.words else "prod") in done.stdout
    assert "eyJ" not in done.stdout


def test_the_roles_are_documented() -> None:
    """The roles in the README are those that the command knows."""
    (roles,) = [t for t in tables(CELERY) if t.head[0] == "role"]
    assert [row[0].strip("`") for row in roles.rows] == list(ROLES)


def test_exit_codes_are_documented() -> None:
    """The codes in the README are those that the command's help tells."""
    (codes,) = [t for t in tables(CORE) if t.head[0] == "exit code"]
    told = [line.split(maxsplit=1) for line in TABLE.splitlines()[2:]]
    assert codes.rows == told


def test_other_celery_commands_are_of_workers() -> None:
    """All other `celery` commands start workers, which the tests of scopes do as documented."""
    others = [c for c in COMMANDS if c.words[:3] == ["celery", "-A", "proj"]]
    assert {c.words[3] for c in others} == {"inspect", "mqauth", "worker"}
