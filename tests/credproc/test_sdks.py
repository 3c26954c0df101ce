"""What reads credproc's output: boto3 and the AWS CLI, through `credential_process`."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mqauth_sandbox.pki import Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from mqauth_sandbox.tools import environment_with_clock_at
from tests.credproc.programs import CREDPROC, Program

# Calls STS once for each line on its standard input, as a program that lives long does.
CLIENT = """
import json, sys, boto3
client = boto3.Session(profile_name="onprem").client("sts", endpoint_url=sys.argv[1])
for line in sys.stdin:
    try:
        answer = {"arn": client.get_caller_identity()["Arn"]}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
"""


class Clock:
    """The clock that the service and all programs of a test see.

    Args:
        endpoint: The service.
        path: The file that libfaketime reads.
    """

    def __init__(self, endpoint: RolesAnywhereEndpoint, path: Path) -> None:
        self._endpoint = endpoint
        self._path = path
        self.environment = environment_with_clock_at(path)
        self.set(0)

    def set(self, seconds: int) -> None:
        """Let everybody believe that so much time has passed since the test began."""
        new = self._path.with_suffix(".new")
        new.write_text(f"+{seconds}\n")
        new.replace(self._path)
        self._endpoint.faults.clock_skew = self._endpoint.sts.faults.clock_skew = seconds


@pytest.fixture
def clock(mqauth_rolesanywhere: RolesAnywhereEndpoint, tmp_path: Path, faketime: Path) -> Clock:
    """A clock to move."""
    return Clock(mqauth_rolesanywhere, tmp_path / "clock")


class Profile:
    """A profile of an AWS config file whose credential_process is counted.

    Args:
        folder: Where the files lie.
        command: What the profile runs.
    """

    def __init__(self, folder: Path, command: list[str]) -> None:
        self._log = folder / "runs"
        self._log.touch()
        counted = folder / "counted"
        counted.write_text(f'#!/bin/sh\necho run >>{self._log}\nexec "$@"\n')
        counted.chmod(0o700)
        self.config = folder / "aws-config"
        line = shlex.join([str(counted), *command])
        self.config.write_text(
            f"[profile onprem]\nregion = eu-west-1\ncredential_process = {line}\n"
        )

    @property
    def runs(self) -> int:
        """How often the command was run."""
        return len(self._log.read_text().splitlines())


class Client:
    """A boto3 program that makes a call whenever it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def call(self) -> dict[str, str]:
        """Let it call STS and return what came of it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: dict[str, str] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def client(endpoint: RolesAnywhereEndpoint, environment: dict[str, str]) -> Iterator[Client]:
    """Run the program for as long as the block lasts."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, endpoint.sts.url],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Client(process)
        finally:
            process.kill()


@pytest.fixture
def command(
    mqauth_pki: Pki, mqauth_rolesanywhere: RolesAnywhereEndpoint, tmp_path: Path
) -> list[str]:
    """A good command line, the program included."""
    files = mqauth_pki.issue("ec-p256").write(tmp_path)
    return [str(CREDPROC), *mqauth_rolesanywhere.arguments(), *files.arguments()]


def test_boto3_through_three_expiries(
    credproc: Program,
    command: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    clock: Clock,
    tmp_path: Path,
) -> None:
    """With the shortest sessions that there are, every call is signed with one that is alive.

    botocore asks on each use while less than 15 minutes are left, which with 900 s is always; so
    credproc runs for each call, and a session is opened only when two thirds of one are over.
    """
    profile = Profile(tmp_path, [*command, "--session-duration", "900"])
    environment = {**credproc.environment, **clock.environment}
    environment["AWS_CONFIG_FILE"] = str(profile.config)
    before = mqauth_rolesanywhere.fetches
    sessions = []
    with client(mqauth_rolesanywhere, environment) as program:
        for seconds in range(0, 2801, 400):
            clock.set(seconds)
            answer = program.call()
            assert ":assumed-role/" in answer.get("arn", ""), answer
            sessions.append(mqauth_rolesanywhere.fetches - before)
    assert sessions == [1, 1, 2, 2, 3, 3, 4, 4]


def test_boto3_asks_once_per_refresh(
    credproc: Program,
    command: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    clock: Clock,
    tmp_path: Path,
) -> None:
    """With sessions of an hour credproc runs once per refresh, and not once per call."""
    profile = Profile(tmp_path, command)
    environment = {**credproc.environment, **clock.environment}
    environment["AWS_CONFIG_FILE"] = str(profile.config)
    before = mqauth_rolesanywhere.fetches
    runs = []
    with client(mqauth_rolesanywhere, environment) as program:
        for seconds in (0, 10, 1200, 2600, 2800, 2810, 5300, 5600, 8400):
            clock.set(seconds)
            assert "arn" in program.call()
            runs.append(profile.runs)
    assert runs == [1, 1, 1, 1, 2, 2, 2, 3, 4]
    assert mqauth_rolesanywhere.fetches - before == 4


def test_boto3_starts_again_from_the_cache(
    credproc: Program,
    command: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    clock: Clock,
    tmp_path: Path,
) -> None:
    """A program that starts later finds a session with more than 15 minutes left, or a new one."""
    profile = Profile(tmp_path, command)
    environment = {**credproc.environment, **clock.environment}
    environment["AWS_CONFIG_FILE"] = str(profile.config)
    before = mqauth_rolesanywhere.fetches
    for seconds, sessions, runs in ((0, 1, 1), (2600, 1, 2), (2720, 2, 3)):
        clock.set(seconds)
        with client(mqauth_rolesanywhere, environment) as program:
            assert "arn" in program.call()
            assert "arn" in program.call()  # botocore must not find reason to ask again
        assert (mqauth_rolesanywhere.fetches - before, profile.runs) == (sessions, runs)


@pytest.fixture
def programs(credproc: Program, helper: Program) -> list[Program]:
    """Both."""
    return [helper, credproc]


def test_aws_cli_reads_both_alike(
    programs: list[Program],
    command: list[str],
    aws_cli: Path,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    tmp_path: Path,
) -> None:
    """The AWS CLI signs with what either program prints."""
    said = []
    for program in programs:
        profile = Profile(tmp_path, [str(program.executable), "credential-process", *command[1:]])
        aws = Program(
            executable=aws_cli,
            environment={**program.environment, "AWS_CONFIG_FILE": str(profile.config)},
        )
        whoami = ["--profile", "onprem", "sts", "get-caller-identity", "--output", "json"]
        outcome = aws(*whoami, "--endpoint-url", mqauth_rolesanywhere.sts.url)
        assert outcome.code == 0, outcome.stderr
        said.append(json.loads(outcome.stdout)["Arn"])
    assert said[0] == said[1]


def test_cause_reaches_the_user(
    credproc: Program, command: list[str], aws_cli: Path, tmp_path: Path
) -> None:
    """When credproc fails, the AWS CLI shows its one line."""
    command[command.index("--certificate") + 1] = "/nowhere/host.pem"
    profile = Profile(tmp_path, command)
    aws = Program(
        executable=aws_cli,
        environment={**credproc.environment, "AWS_CONFIG_FILE": str(profile.config)},
    )
    outcome = aws("--profile", "onprem", "sts", "get-caller-identity")
    assert outcome.code != 0
    assert "/nowhere/host.pem" in outcome.stderr


def test_a_profile_instead_of_a_long_line(
    credproc: Program,
    command: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    home: Path,
    tmp_path: Path,
) -> None:
    """AWS config files allow no second line; with credproc one word is enough."""
    pairs = zip(command[1::2], command[2::2], strict=True)
    entries = "".join(f'{name.removeprefix("--")} = "{value}"\n' for name, value in pairs)
    config = home / ".config" / "credproc" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f"[profiles.onprem]\n{entries}")
    config.chmod(0o600)
    profile = Profile(tmp_path, [str(CREDPROC), "onprem"])
    environment = {**credproc.environment, "AWS_CONFIG_FILE": str(profile.config)}
    with client(mqauth_rolesanywhere, environment) as program:
        assert ":assumed-role/" in program.call()["arn"]
