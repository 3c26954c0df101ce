"""The subprocess that gets no rope: limits, terminal, descriptors, and that nothing outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from credproc.helper import process
from credproc.helper.process import Finished, OutputLimitError, TimeLimitError, run

LIMIT = 20.0


def script(tmp_path: Path, text: str) -> str:
    """Return an executable shell script."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def alive(pid: int) -> bool:
    """Return whether a process still runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int) -> bool:
    """Return whether a process ends within the limit."""
    deadline = time.monotonic() + LIMIT
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_output_errors_and_exit_code_are_kept_apart(tmp_path: Path) -> None:
    """What the program writes to either stream and its exit code come back as they were."""
    program = script(tmp_path, 'echo "$1"; echo complaint >&2; exit 3')
    assert run([program, "a b"], {}, limit=LIMIT) == Finished(3, b"a b\n", b"complaint\n")


def test_output_is_not_in_the_representation(tmp_path: Path) -> None:
    """Secrets that a program printed do not show in logs or tracebacks."""
    assert "s3cret" not in repr(run([script(tmp_path, "echo s3cret")], {}, limit=LIMIT))


def test_environment_is_what_is_given_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable of ours reaches the program."""
    monkeypatch.setenv("CREDPROC_TEST_LEAK", "1")
    program = script(tmp_path, "tr '\\0' '\\n' </proc/self/environ")
    found = run([program], {"A": "1", "PATH": os.defpath}, limit=LIMIT).output.split()
    # Some shells add these on their own.
    names = {entry.partition(b"=")[0] for entry in found} - {b"PWD", b"SHLVL", b"_"}
    assert names == {b"A", b"PATH"}


def test_descriptors_of_ours_do_not_reach_it(tmp_path: Path) -> None:
    """A descriptor that somebody left inheritable, such as an SDK's socket, is closed."""
    reading, writing = os.pipe()
    try:
        os.set_inheritable(reading, True)
        # `ls` itself has the folder open as the lowest number that is free.
        shown = run([script(tmp_path, "ls /proc/self/fd")], {"PATH": os.defpath}, limit=LIMIT)
        assert str(reading).encode() not in shown.output.split()
    finally:
        os.close(reading)
        os.close(writing)


def test_standard_input_is_empty(tmp_path: Path) -> None:
    """A program that reads its input finds the end of it at once."""
    assert run([script(tmp_path, "cat; echo end")], {}, limit=LIMIT).output == b"end\n"


def test_signals_are_as_for_a_fresh_program(tmp_path: Path) -> None:
    """What Python ignores, the program does not: SIGPIPE and all others have their default."""
    program = script(tmp_path, "grep SigIgn /proc/self/status")
    ignored = int(run([program], {"PATH": os.defpath}, limit=LIMIT).output.split()[1], 16)
    # Real-time signals 32 and 33 are the C library's own.
    assert not ignored & 0x7FFFFFFF


@pytest.mark.parametrize("text", ["sleep 60", "exec >&- 2>&-; sleep 60", "trap '' TERM; sleep 60"])
def test_a_program_that_hangs_is_ended(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit holds, even if the program closes its output, ignores SIGTERM or has children."""
    pids: list[int] = []
    spawn = process._spawn

    def noted(*how: Any) -> int:
        pids.append(spawn(*how))
        return pids[-1]

    monkeypatch.setattr(process, "_spawn", noted)
    started = time.monotonic()
    with pytest.raises(TimeLimitError):
        run([script(tmp_path, text)], {"PATH": os.defpath}, limit=0.5)
    assert time.monotonic() - started < 20
    assert gone(pids[0])


def test_a_program_that_does_not_stop_talking_is_ended() -> None:
    """Endless output is cut off instead of filling memory."""
    with pytest.raises(OutputLimitError):
        run(["/usr/bin/yes"], {}, limit=LIMIT)


def test_a_password_is_typed_and_its_echo_not_kept(tmp_path: Path) -> None:
    """The program may ask on /dev/tty, and what is answered is on no command line."""
    program = script(
        tmp_path, "printf 'Password:' >/dev/tty; read line </dev/tty; echo \"got $line\""
    )
    heard: list[str] = []

    def answer(said: str) -> str | None:
        heard.append(said)
        return "horse" if "".join(heard) == "Password:" else None

    assert run([program], {}, limit=LIMIT, answer=answer).output == b"got horse\n"


def test_time_that_answering_takes_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who types a password slowly does not run into the program's limit."""
    program = script(tmp_path, "printf '?' >/dev/tty; read line </dev/tty; echo done")
    spent = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + spent[0], sleep=time.sleep)
    monkeypatch.setattr(process, "time", clock)

    def answer(said: str) -> str | None:
        if "?" not in said:
            return None
        spent[0] += 3 * LIMIT
        return "x"

    assert run([program], {}, limit=LIMIT, answer=answer).output == b"done\n"


def test_an_exception_while_answering_ends_the_program(tmp_path: Path) -> None:
    """Ctrl-C, or an answer that cannot be given, leaves nothing running."""
    pid_file = tmp_path / "pid"
    program = script(tmp_path, f"echo $$ >{pid_file}; printf '?' >/dev/tty; sleep 60")

    def answer(said: str) -> str | None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([program], {"PATH": os.defpath}, limit=LIMIT, answer=answer)
    assert gone(int(pid_file.read_text()))


PARENT = """
import sys
from credproc.helper.process import run
run([sys.argv[1]], {"PATH": "/usr/bin:/bin"}, limit=60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_program_dies_with_us(tmp_path: Path, number: signal.Signals) -> None:
    """However this process ends, by SIGKILL too, the program that it runs ends as well."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = script(tmp_path, f"echo $$ >{pipe}; exec sleep 60")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, program], stderr=subprocess.DEVNULL, start_new_session=True
    )
    child = int(pipe.read_text())
    assert alive(child)
    parent.send_signal(number)
    parent.wait(LIMIT)
    assert gone(child)


ELSEWHERE = """
import signal, sys, threading
from credproc.helper.process import run
from credproc.termination import leaving_on_signals
def take():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    threading.Event().wait()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
threading.Thread(target=take, daemon=True).start()
with leaving_on_signals(lambda: False):
    run([sys.argv[1]], {"PATH": "/usr/bin:/bin"}, limit=600)
"""


def test_a_signal_that_does_not_interrupt_the_wait_ends_it(tmp_path: Path) -> None:
    """One that comes just before the wait does not either, and nothing outlives it for long."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = script(tmp_path, f"echo $$ >{pipe}; exec sleep 600")
    parent = subprocess.Popen([sys.executable, "-c", ELSEWHERE, program], start_new_session=True)
    child = int(pipe.read_text())
    parent.send_signal(signal.SIGTERM)
    try:
        assert parent.wait(LIMIT) == 128 + signal.SIGTERM
    finally:
        parent.kill()
        parent.wait(LIMIT)
    assert gone(child)


def test_what_cannot_be_started_is_an_os_error(tmp_path: Path) -> None:
    """A file of another architecture, or none at all, raises what the system says."""
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    with pytest.raises(OSError, match="Exec format error"):
        run([str(path)], {}, limit=LIMIT)
