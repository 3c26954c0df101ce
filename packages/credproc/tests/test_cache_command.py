"""`credproc cache` tells facts of the cached sessions, and `completion` what shells understand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from credproc.cache import SessionCache, open_cache
from credproc.cli import run
from credproc.commands.completion import SHELLS
from credproc.credentials import SessionCredentials
from credproc.options import SessionOptions
from credproc.secret import Secret


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SessionCache:
    """A cache with a fresh, a stale and an expired session, that the command will use."""
    monkeypatch.setenv("CREDPROC_CACHE_DIR", str(tmp_path / "cache"))
    options = SessionOptions(
        role_arn="", profile_arn="", trust_anchor_arn="", cache_dir=str(tmp_path / "cache")
    )
    cache = open_cache(options, os.environb)
    assert cache is not None
    now = time.time()
    for name, left, age in (("fresh", 3600, 0), ("stale", 600, 3000), ("expired", -60, 3660)):
        session = SessionCredentials(
            f"ASIA{name.upper()}", Secret("s3cret"), Secret("t0ken"), int(now + left)
        )
        assert cache.store(name, session, now - age)
    return cache


def test_list_tells_facts_only(cache: SessionCache, capsys: pytest.CaptureFixture[str]) -> None:
    """Each session has a line with its key id, state and end, and nothing secret."""
    assert run(["cache", "list"]) == 0
    captured = capsys.readouterr()
    lines = {line.split()[0]: line.split()[1] for line in captured.out.splitlines()}
    assert lines == {"ASIAFRESH": "fresh", "ASIASTALE": "stale", "ASIAEXPIRED": "expired"}
    assert "s3cret" not in captured.out
    assert "t0ken" not in captured.out


def test_list_as_json(cache: SessionCache, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as JSON, with the directory."""
    assert run(["cache", "list", "--json"]) == 0
    text = capsys.readouterr().out
    document = json.loads(text)
    assert document["directory"] == cache.directory
    states = {entry["access_key_id"]: entry for entry in document["sessions"]}
    assert states["ASIAFRESH"]["seconds_left"] > 3500
    assert states["ASIAEXPIRED"]["seconds_left"] == 0
    assert "s3cret" not in text


def test_clear_forgets_all(cache: SessionCache, capsys: pytest.CaptureFixture[str]) -> None:
    """Afterwards there is nothing to list; clearing an empty cache is no error."""
    assert run(["cache", "clear", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cleared"] == 3
    assert run(["cache", "list"]) == 0
    assert "no sessions in" in capsys.readouterr().out
    assert run(["cache", "clear"]) == 0
    assert capsys.readouterr().out == "cleared 0 sessions\n"


def test_all_places_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was cached with other variables of the session manager's is listed and cleared too."""
    monkeypatch.delenv("CREDPROC_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for variable in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        folder = tmp_path / variable / "credproc"
        folder.mkdir(mode=0o700, parents=True)
        session = SessionCredentials(
            variable, Secret("s3cret"), Secret("t0ken"), int(time.time() + 60)
        )
        assert SessionCache(str(folder)).store("key", session, time.time())
    assert run(["cache", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    places = {entry["access_key_id"]: entry["directory"] for entry in document["sessions"]}
    for variable in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        assert places[variable] == f"{tmp_path}/{variable}/credproc"
    assert set(places.values()) <= set(document["directories"])


def test_clear_reaches_every_place(tmp_path: Path) -> None:
    """`clear` with another XDG_RUNTIME_DIR than the session was cached with forgets it too."""
    places = [tmp_path / "runtime" / "credproc", tmp_path / "home" / ".cache" / "credproc"]
    for place in places:
        place.mkdir(mode=0o700, parents=True)
        session = SessionCredentials("ASIA1", Secret("s"), Secret("t"), int(time.time() + 60))
        assert SessionCache(str(place)).store("key", session, time.time())
    code = (
        "import sys\n"
        "from credproc import shortcut\n"
        "found = shortcut.directories\n"
        "shortcut.directories = lambda environ: [\n"
        "    place for place in found(environ) if place.startswith(sys.argv[1].encode())]\n"
        "from credproc.cli import run; sys.exit(run(['cache', 'clear']))"
    )
    variables = {"HOME": f"{tmp_path}/home", "XDG_RUNTIME_DIR": f"{tmp_path}/runtime"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("cleared 2 sessions\n", "")
    assert [list(place.iterdir()) for place in places] == [[], []]


def test_a_file_that_is_no_session_is_passed_over(
    cache: SessionCache, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged file hides no other."""
    Path(cache.path("fresh")).write_bytes(b"nonsense")
    assert run(["cache", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_directory_that_is_not_private(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory that others may enter is refused in one line, with exit code 8."""
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    assert run(["cache", "list", "--cache-dir", str(open_to_all)]) == 8
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_action_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without one the usage error names what is missing."""
    assert run(["cache"]) == 2
    assert "ACTION" in capsys.readouterr().err


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_are_understood(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each shell that is here reads its script; all scripts know the commands and the flags."""
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("doctor", "cert-selector", "hop-limit", "dry-run"):
        assert word in script
    program = shutil.which(shell)
    if program is not None:
        path = tmp_path / "script"
        path.write_text(script)
        subprocess.run([program, "-n", str(path)], check=True, timeout=30)


def test_bash_completes_commands_and_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What bash offers after `up` and after `update --pri` is what there is."""
    bash = shutil.which("bash")
    assert bash is not None, "bash is needed to try its completion"
    assert run(["completion", "bash"]) == 0
    path = tmp_path / "script"
    path.write_text(capsys.readouterr().out)
    asking = """
        source "$0"; function_name=$(complete -p credproc | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
                "$function_name" credproc "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[@]}"; }
        ask credproc up; ask credproc update --pri; ask credproc --pri
    """
    shown = subprocess.run(
        [bash, "-c", asking, str(path)], capture_output=True, text=True, check=True, timeout=30
    ).stdout.splitlines()
    assert shown == ["update", "--private-key", "--private-key"]
