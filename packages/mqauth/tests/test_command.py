"""The provider command, with real programs."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mqauth import CredentialSource, RotationPolicy
from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import (
    ConfigurationError,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth.provider import Provider
from mqauth_sandbox.oidc import OidcIssuer

SECRET = "canary-secret-of-a-command-0123456789"

LIMIT = 30.0
"""Seconds that a program gets to start in and to end; a busy host takes its time for Python."""

Program = Callable[[str], list[str]]


def build(command: object) -> Provider:
    """Build the provider as a source does."""
    resolved = resolve("command", explicit={"command": command}, environ={})
    return provider_class("command").from_options(resolved.options)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Return a function that writes a Python program and returns how to run it."""

    def write(text: str) -> list[str]:
        path = tmp_path / f"program{len(list(tmp_path.iterdir()))}.py"
        path.write_text(text)
        return [sys.executable, "-I", "-S", str(path)]

    return write


@pytest.fixture
def printing(program: Program) -> Callable[[object], Provider]:
    """Return a function that builds a provider whose program prints an object as JSON."""

    def make(content: object) -> Provider:
        return build(program(f"print({json.dumps(content)!r})"))

    return make


def failure(provider: Provider, timeout: float = LIMIT) -> MQAuthError:
    """Return the error of a fetch that must fail, after checking what holds for all of them."""
    with pytest.raises(MQAuthError) as caught:
        provider.fetch(timeout=timeout)
    error = caught.value
    assert "\n" not in str(error)
    assert error.remedy
    shown = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    assert SECRET not in shown
    return error


def test_a_user_and_a_password(printing: Callable[[object], Provider]) -> None:
    """User name, password and end of life are what the program says."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    content = {"version": 1, "username": "celery", "password": SECRET, "note": "ignored"}
    for spelling in (ends.isoformat(), ends.strftime("%Y-%m-%dT%H:%M:%SZ"), ends.timestamp()):
        credentials = printing({**content, "expires_at": spelling}).fetch(timeout=LIMIT)
        assert (credentials.username, credentials.password.reveal()) == ("celery", SECRET)
        assert credentials.expires_at == ends
        assert (credentials.principal, credentials.provider) == ("celery", "command")
        assert SECRET not in repr(credentials)


def test_a_life_in_seconds(printing: Callable[[object], Provider]) -> None:
    """expires_in counts from the moment the program has printed it."""
    credentials = printing({"token": "opaque", "expires_in": 90}).fetch(timeout=LIMIT)
    assert 70 < credentials.remaining() <= 90
    assert 89 < credentials.lifetime <= 90
    assert credentials.username == ""


def test_no_end_of_life(printing: Callable[[object], Provider]) -> None:
    """A secret whose end nobody tells does not end."""
    assert printing({"token": "opaque\n"}).fetch(timeout=LIMIT).expires_at is None


def test_a_jwt_tells_its_own_end(
    printing: Callable[[object], Provider], issuer: OidcIssuer
) -> None:
    """A JWT ends with its exp, or sooner if the program says so."""
    token = issuer.mint(lifetime=100)
    credentials = printing({"token": f"{token}\n"}).fetch(timeout=LIMIT)
    assert credentials.password.reveal() == token
    assert credentials.principal == issuer.client_id
    assert 70 < credentials.remaining() <= 100
    sooner = printing({"token": token, "expires_in": 50}).fetch(timeout=LIMIT)
    assert 30 < sooner.remaining() <= 50


def test_a_source_runs_it_for_each_rotation(program: Program, tmp_path: Path) -> None:
    """Five rotations are five runs more, each with a secret of its own."""
    counter = tmp_path / "runs"
    command = program(
        f"import json\n"
        f"with open({str(counter)!r}, 'a+') as file:\n"
        f"    file.write('x')\n"
        f"    file.seek(0)\n"
        f"    print(json.dumps({{'token': 't' * len(file.read()), 'expires_in': 30}}))\n"
    )
    source = CredentialSource.from_config({"provider": "command", "command": command})
    source.policy = RotationPolicy(renew_at=0.02, jitter=0.0)
    rotated = threading.Event()

    class Listener:
        def credentials_renewed(self, credentials: object) -> bool:
            if source.status().rotations >= 5:
                rotated.set()
            return True

    listener = Listener()
    source.get()
    source.attach(listener)
    try:
        assert rotated.wait(LIMIT)
    finally:
        source.close()
    assert len(counter.read_text()) >= 6
    assert source.status().failures == 0


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("/bin/echo 'a b' c", ("/bin/echo", "a b", "c")),
        (["/bin/echo", "a b; rm"], ("/bin/echo", "a b; rm")),
        ("~/token", ("{home}/token",)),
    ],
)
def test_how_a_command_is_written(
    written: object, expected: tuple[str, ...], tmp_path: Path
) -> None:
    """A list is taken as it is, a text is split as a shell splits words, and no more."""
    provider: Any = build(written)
    assert provider._command == tuple(word.format(home=tmp_path) for word in expected)


def test_no_shell_runs(tmp_path: Path) -> None:
    """What a shell would act on is passed on as it stands."""
    provider = build(f'/bin/echo \'{{"token": "x"}}\' ; touch {tmp_path}/made')
    assert isinstance(failure(provider), InvalidCredentialError)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("written", ["", "  ", [], [""], "echo 'open", 5, ["a", 1]])
def test_what_is_no_command(written: object) -> None:
    """An empty or unreadable command is refused when it is configured."""
    with pytest.raises(ConfigurationError, match="command"):
        build(written)


def test_the_identity_tells_the_program_alone(program: Program) -> None:
    """Arguments may hold secrets, so they do not show; and nothing is shared through the host."""
    provider = build(["/usr/bin/my token", "--password", SECRET])
    assert provider.identity == "command '/usr/bin/my token'"
    assert not provider.shareable


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([1], "JSON that is no object"),
        ({"version": 2, "token": SECRET}, "another version of the format than 1"),
        ({"version": "1", "token": SECRET}, "another version"),
        ({"username": "celery"}, "neither password nor token"),
        ({"token": SECRET, "password": SECRET}, "both password and token"),
        ({"token": ""}, "empty secret"),
        ({"token": 5}, "empty secret, or one that is no text"),
        ({"token": SECRET, "username": 5}, "username that is no text"),
        ({"token": SECRET, "expires_in": "60"}, "expires_in that is no number"),
        ({"token": SECRET, "expires_in": 1e300}, "expires_in that is no number"),
        ({"token": SECRET, "expires_in": -1e11}, "expires_in that is no number"),
        ({"token": SECRET, "expires_at": "0001-01-01T00:00:00+14:00"}, "out of all range"),
        ({"token": SECRET, "expires_at": "9999-12-31T23:59:59-08:00"}, "out of all range"),
        ({"token": SECRET, "expires_in": -5}, "expired 5 s ago"),
        ({"token": SECRET, "expires_at": "2020-01-01T00:00:00Z"}, r"expired \d+ years ago"),
        ({"token": SECRET, "expires_at": "2020-01-01T00:00:00"}, "with an offset"),
        ({"token": SECRET, "expires_at": "tomorrow"}, "no RFC 3339"),
        ({"token": SECRET, "expires_at": 1893456000000}, "out of all range"),
        ({"token": SECRET, "expires_at": True}, "no RFC 3339"),
        ({"token": SECRET, "expires_at": 1, "expires_in": 1}, "both expires_at and expires_in"),
        ({"token": "eyJhbGciOiJSUzI1NiJ9.eyJ"}, "no JWT"),
        ({"token": "eyAiYWxnIjoiUlMyNTYifQ.eyJleHAiOjF9.c2ln"}, r"expired \d+ years ago"),
    ],
)
def test_what_is_no_credential(
    printing: Callable[[object], Provider], content: object, complaint: str
) -> None:
    """Whatever breaks the documented format is told by name and may be better next time."""
    provider = printing(content)
    error = failure(provider)
    assert isinstance(error, InvalidCredentialError)
    with pytest.raises(InvalidCredentialError, match=complaint):
        raise error


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("", "printed nothing"),
        (" \n", "printed nothing"),
        (f"{{'token': {SECRET!r}", "something else instead of JSON"),
        ("<Error><Code>AccessDenied</Code></Error>", "XML or a web page instead of JSON"),
        ("[" * 60000, "something else instead of JSON"),
    ],
)
def test_what_is_no_json(program: Program, output: str, complaint: str) -> None:
    """Nothing, half of an object, XML and the like are told apart."""
    error = failure(build(program(f"print({output!r})")))
    assert isinstance(error, InvalidCredentialError)
    assert complaint in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (1, IssuerUnavailableError),
        (64, ConfigurationError),
        (75, IssuerUnavailableError),
        (77, IssuerRefusedError),
        (78, ConfigurationError),
        (127, ConfigurationError),
    ],
)
def test_what_an_exit_status_means(program: Program, status: int, kind: type[MQAuthError]) -> None:
    """The error has the class that the status stands for, and the last line of the complaint."""
    error = failure(
        build(
            program(f"import sys; print('first\\nno luck\\n', file=sys.stderr); sys.exit({status})")
        )
    )
    assert type(error) is kind
    assert f"failed with exit status {status}: no luck (" in str(error)


def test_a_signal_and_no_words(program: Program) -> None:
    """A program that was killed is told by the signal."""
    error = failure(build(program("import os; os.kill(os.getpid(), 9)")))
    assert "was ended by signal 9 and said nothing" in str(error)
    assert error.retryable


def test_complaints_hold_no_secret(
    program: Program, monkeypatch: pytest.MonkeyPatch, issuer: OidcIssuer
) -> None:
    """What it printed, what its environment calls a secret, JWTs and long keys do not show."""
    monkeypatch.setenv("MY_API_TOKEN", "short-one")
    token = issuer.mint()
    error = failure(
        build(
            program(
                "import sys, os\n"
                f'print(\'{{"token": "plain"}}\')\n'
                f"print('no: plain', os.environ['MY_API_TOKEN'], {SECRET!r}, {token!r},"
                " file=sys.stderr)\n"
                "sys.exit(1)"
            )
        )
    )
    assert str(error).count("********") == 4
    for secret in ("short-one", "plain", token, SECRET):
        assert secret not in str(error)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("GET https://bob:hunter2@vault/x: 403", "GET https://********@vault/x: 403"),
        ("GET https://bob:hun/ter@2@vault/x", "GET https://********@vault/x"),
        ("GET https://hunter2@vault/x", "GET https://********@vault/x"),
        ("GET https://vault:8200/x: 403", "GET https://vault:8200/x: 403"),
        ("sent Authorization: Basic aHVudGVyMg==", "sent Authorization: ********"),
        ("'authorization': 'Digest a, b=hunter2'", "'authorization': ********"),
        ("curl -H Bearer hunter2 failed", "curl -H Bearer ******** failed"),
        ("bearer token has run out", "bearer token has run out"),
        ("Basic authentication failed", "Basic authentication failed"),
        ("client_secret=abc hunter2", "client_secret=********"),
        ('{"password": "a \\"b hunter2", "code": 7}', '{"password": ********, "code": 7}'),
        ("api_key='a hunter2' is bad", "api_key=******** is bad"),
        ("token: hunter2 is bad", "token: ******** is bad"),
    ],
)
def test_what_stands_where_secrets_stand_does_not_show(
    program: Program, said: str, shown: str
) -> None:
    """Secrets that nobody told us about are known by their place; the rest is still said."""
    error = failure(build(program(f"import sys; print({said!r}, file=sys.stderr); sys.exit(1)")))
    assert f"exit status 1: {shown} (" in str(error)
    assert "hunter2" not in str(error)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """A missing program, or one that may not be run, is the user's to correct."""
    assert isinstance(failure(build([str(tmp_path / "missing")])), ConfigurationError)
    (tmp_path / "plain").write_text("text")
    error = failure(build([str(tmp_path / "plain")]))
    assert "cannot be run: Permission denied" in str(error)
    assert "cannot be passed on" in str(failure(build(["/bin/echo", "a\0b"])))


def gone(pid: int, limit: float = LIMIT) -> bool:
    """Return whether a process ends, its parent having waited for it, within the limit."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z" and not _is_ours(pid):
            return True  # an orphan's zombie is for init to bury
        time.sleep(0.01)
    return False


def _is_ours(pid: int) -> bool:
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text.rpartition(")")[2].split()[1]) == os.getpid()


def test_a_program_that_hangs_is_killed_with_its_children(program: Program, tmp_path: Path) -> None:
    """When time is up, nothing of the whole process group is left, not even a zombie."""
    pids = tmp_path / "pids"
    command = program(
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"with open({str(pids)!r}, 'w') as file:\n"
        "    file.write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(60)\n"
    )
    started = time.monotonic()
    error = failure(build(command), timeout=6)
    assert time.monotonic() - started < 30  # it hangs for a minute
    assert isinstance(error, IssuerUnavailableError)
    assert "did not end within 6.0 s and was killed" in str(error)
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_a_flood_is_cut_off(program: Program, tmp_path: Path) -> None:
    """Output without end costs neither memory nor time."""
    pid = tmp_path / "pid"
    command = program(
        "import os, sys\n"
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "while True: sys.stdout.write('x' * 65536)\n"
    )
    error = failure(build(command))
    assert isinstance(error, InvalidCredentialError)
    assert "more than 64 KiB" in str(error)
    assert gone(int(pid.read_text()))


def test_a_flood_of_complaints_keeps_the_last_line(program: Program) -> None:
    """A megabyte of warnings does not block the program, and its last words count."""
    error = failure(
        build(
            program(
                "import sys\nfor _ in range(20000): print('warning ' * 6, file=sys.stderr)\n"
                "print('the reason', file=sys.stderr); sys.exit(3)"
            )
        )
    )
    assert "exit status 3: the reason" in str(error)


def test_a_child_that_lives_on_is_not_waited_for(program: Program, tmp_path: Path) -> None:
    """What it starts in the background may keep its output open: only its own end counts."""
    pid = tmp_path / "pid"
    command = program(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        'print(\'{"token": "x"}\')'
    )
    assert build(command).fetch(timeout=30).password.reveal() == "x"
    os.kill(int(pid.read_text()), signal.SIGKILL)  # it is there


def test_it_gets_no_input(program: Program) -> None:
    """A program that asks for a password gets none, rather than the terminal."""
    command = program("import sys, json; print(json.dumps({'token': 'got' + sys.stdin.read()}))")
    assert build(command).fetch(timeout=LIMIT).password.reveal() == "got"


def test_nothing_stays_open(program: Program) -> None:
    """Neither a fetch nor a failure costs a file descriptor."""
    good, bad = build(program('print(\'{"token": "x"}\')')), build(["/nonexistent"])
    good.fetch(timeout=LIMIT)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        good.fetch(timeout=LIMIT)
        failure(bad)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
