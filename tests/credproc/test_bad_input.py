"""Bad input: one line that names cause and remedy, a documented exit code, nothing on stdout."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mqauth_sandbox.pki import Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from tests.credproc.programs import Outcome, Program


class Line:
    """A good command line, to be spoilt.

    Args:
        words: The words.
    """

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def set(self, flag: str, value: str) -> Line:
        """Give a flag another value, or give it at all."""
        if flag in self.words:
            self.words[self.words.index(flag) + 1] = value
        else:
            self.words += [flag, value]
        return self

    def get(self, flag: str) -> str:
        """Return a flag's value."""
        return self.words[self.words.index(flag) + 1]


@pytest.fixture
def line(mqauth_pki: Pki, mqauth_rolesanywhere: RolesAnywhereEndpoint, tmp_path: Path) -> Line:
    """A good command line."""
    files = mqauth_pki.issue().write(tmp_path)
    endpoint = mqauth_rolesanywhere
    return Line(["credential-process", *endpoint.arguments(), *files.arguments()])


def refused(outcome: Outcome, code: int) -> str:
    """Return the one line of a run that failed with a code."""
    assert (outcome.code, outcome.stdout) == (code, ""), outcome
    assert outcome.stderr.count("\n") == 1, outcome.stderr
    assert "Traceback" not in outcome.stderr
    return outcome.stderr


ANCHOR, PROFILE, ROLE = "--trust-anchor-arn", "--profile-arn", "--role-arn"
WORDS: dict[str, tuple[str, Callable[[str], str], str]] = {
    "no-arn": (ANCHOR, lambda _: "trust-anchor", "ARN"),
    "wrong-kind": (ROLE, lambda arn: arn.replace(":role/", ":user/"), "role"),
    "swapped-kinds": (PROFILE, lambda arn: arn.replace(":profile/", ":trust-anchor/"), "profile"),
    "other-region": (PROFILE, lambda arn: arn.replace("eu-west-1", "us-east-1"), "us-east-1"),
    "other-account": (PROFILE, lambda arn: arn.replace("123456789012", "210987654321"), "account"),
    "other-partition": (ROLE, lambda arn: arn.replace("arn:aws:", "arn:aws-cn:"), "partition"),
    "no-anchor": (ANCHOR, lambda arn: arn.rpartition("/")[0] + "/", "trust-anchor"),
    "no-profile": (PROFILE, lambda arn: arn.rpartition("/")[0] + "/", "profile"),
    "no-role": (ROLE, lambda arn: arn.rpartition("/")[0] + "/", "role"),
    "half-an-address": ("--endpoint", lambda _: "https://[::1:5", "endpoint"),
    "selector": ("--cert-selector", lambda _: "Key=x509Serial,Value=1", "exclude each other"),
    "endless": ("--time-limit", lambda _: "9" * 20, "--time-limit"),
    "no-region": (ANCHOR, lambda arn: arn.replace("eu-west-1", ""), "region"),
    "short": ("--session-duration", lambda _: "899", "900"),
    "long": ("--session-duration", lambda _: "43201", "43200"),
    "no-number": ("--session-duration", lambda _: "1h", "session-duration"),
    "session-name": ("--role-session-name", lambda _: "two words", "session-name"),
    "endpoint": ("--endpoint", lambda _: "ftp://localhost", "endpoint"),
    "backend": ("--backend", lambda _: "java", "backend"),
}


@pytest.mark.parametrize("name", WORDS)
def test_words_that_cannot_work(
    name: str, line: Line, credproc: Program, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """What cannot work is refused before anything is sent, by name."""
    flag, change, reason = WORDS[name]
    value = line.get(flag) if flag in line.words else ""
    before = mqauth_rolesanywhere.requests
    outcome = credproc(*line.set(flag, change(value)).words)
    assert outcome.code == 2, outcome
    assert outcome.stdout == ""
    assert reason in outcome.stderr
    assert mqauth_rolesanywhere.requests == before


def test_files_that_are_none(line: Line, credproc: Program, tmp_path: Path) -> None:
    """Folders, empty files, pipes, binary noise and swapped files are told apart."""
    empty, noise, pipe = tmp_path / "empty", tmp_path / "noise", tmp_path / "pipe"
    empty.touch()
    noise.write_bytes(os.urandom(3000))
    os.mkfifo(pipe)
    good = {flag: line.get(flag) for flag in ("--certificate", "--private-key")}
    for flag, path in good.items():
        for wrong in (tmp_path, empty, noise, pipe):
            said = refused(credproc(*line.set(flag, str(wrong)).words), 3)
            assert str(wrong) in said
        line.set(flag, path)
    line.set("--certificate", good["--private-key"]).set("--private-key", good["--certificate"])
    assert "certificate" in refused(credproc(*line.words), 3)


def test_a_certificate_that_is_cut_off(line: Line, credproc: Program, tmp_path: Path) -> None:
    """A DER file that ends too early is damaged, not a container that wants a password."""
    content = ssl.PEM_cert_to_DER_cert(Path(line.get("--certificate")).read_text())
    path = tmp_path / "host.der"
    for length in (10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        for words in (
            line.set("--certificate", str(path)).words,
            ["read-certificate-data", "--certificate", str(path)],
        ):
            said = refused(credproc(*words), 3)
            assert f"the certificate {path} is damaged" in said
            assert "password" not in said


def test_a_choice_that_is_none(line: Line, credproc: Program) -> None:
    """--use-latest-expiring-certificate beside a file, which the helper takes, is warned of."""
    outcome = credproc(*line.words, "--use-latest-expiring-certificate")
    assert outcome.credentials
    assert outcome.stderr.count("\n") == 1
    assert "chooses nothing beside --certificate" in outcome.stderr


def test_a_key_that_others_may_read(line: Line, credproc: Program) -> None:
    """A world-readable key is warned of, in one line on standard error, and used."""
    Path(line.get("--private-key")).chmod(0o644)
    outcome = credproc(*line.words)
    assert outcome.credentials
    assert "chmod" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_sha1(line: Line, credproc: Program, mqauth_pki: Pki, tmp_path: Path) -> None:
    """A certificate signed with SHA-1 is refused by name."""
    key = line.get("--private-key")
    made = tmp_path / "sha1.pem"
    request = ["openssl", "req", "-x509", "-sha1", "-key", key, "-subj", "/CN=old", "-days", "9"]
    more = ["-addext", "keyUsage=digitalSignature", "-addext", "basicConstraints=critical,CA:false"]
    subprocess.run([*request, *more, "-out", str(made)], check=True, timeout=30)
    assert "SHA-1" in refused(credproc(*line.set("--certificate", str(made)).words), 3)


@pytest.mark.parametrize("container", ["encrypted-pkcs8", "pkcs12", "pkcs12-openssl"])
def test_wrong_passwords(
    container: str, line: Line, credproc: Program, mqauth_pki: Pki, tmp_path: Path
) -> None:
    """A wrong password and a missing one are told apart, and neither is shown."""
    files = mqauth_pki.issue().write(tmp_path, container)  # type: ignore[arg-type]
    line.set("--certificate", str(files.certificate))
    where = line.words.index("--private-key")
    line.words[where : where + 2] = []
    if files.private_key:
        line.set("--private-key", str(files.private_key))
    wrong = refused(credproc(*line.words, env={"CREDPROC_PKCS8_PASSWORD": "battery staple"}), 3)
    assert re.search("password.*wrong|wrong.*password", wrong)
    assert "battery" not in wrong
    missing = refused(credproc(*line.words), 3)
    assert "--key-password-file" in missing


def test_a_home_that_cannot_be_written(line: Line, credproc: Program, home: Path) -> None:
    """Where no cache can be, credentials come all the same."""
    home.chmod(0o500)
    env = {"CREDPROC_CACHE_DIR": "", "XDG_RUNTIME_DIR": "/nowhere", "HOME": "/proc/1"}
    assert credproc(*line.words, env=env).credentials


def test_a_full_disk(line: Line, credproc: Program) -> None:
    """A disk without room for the cache costs the cache and not the credentials."""
    # A limit on the size of files is what a full disk is to a program that writes one.
    limited = Program(
        executable=Path("/bin/sh"),
        environment=credproc.environment,
    )
    script = 'ulimit -f 0; trap "" XFSZ; exec "$0" "$@"'
    outcome = limited("-c", script, str(credproc.executable), *line.words)
    assert outcome.credentials


def in_a_shell(credproc: Program, script: str, *words: str) -> Outcome:
    """Run credproc as a line of a shell script has it."""
    shell = Program(executable=Path("/bin/sh"), environment=credproc.environment)
    return shell("-c", script, str(credproc.executable), *words)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("command", ["credential-process", "version", "doctor", "--help"])
def test_an_output_that_takes_nothing(
    line: Line, credproc: Program, command: str, *, cached: bool
) -> None:
    """A full disk behind standard output, or none at all, is one line and the code for files."""
    if cached:
        assert credproc(*line.words).credentials
    words = [command, *(line.words[1:] if command in ("credential-process", "doctor") else ())]
    full = in_a_shell(credproc, 'exec "$0" "$@" > /dev/full', *words)
    assert "standard output cannot be written: No space left" in refused(full, 8)
    closed = in_a_shell(credproc, 'exec "$0" "$@" >&-', *words)
    assert "standard output is closed" in refused(closed, 8)


def test_nobody_to_tell(line: Line, credproc: Program) -> None:
    """Where standard error is closed, an error does not end up among the answers."""
    outcome = in_a_shell(credproc, 'exec "$0" "$@" 2>&-', *line.words, "--role-arn", "foo")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert in_a_shell(credproc, 'exec "$0" "$@" 2>&-', *line.words).credentials
