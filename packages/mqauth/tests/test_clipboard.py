"""`mqauth token --copy`, with programs that stand for those of desktops."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from mqauth.cli import clipboard
from mqauth.cli.root import cli
from mqauth_sandbox.oidc import OidcIssuer
from tests.separate_streams import runner

Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def token_file(tmp_path: Path, issuer: OidcIssuer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A token, and an environment without any desktop."""
    file = tmp_path / "token"
    file.write_text(issuer.mint(lifetime=90))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return file


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Return a function that installs a program and returns the file that it copies to."""

    def write(name: str, ending: str = "") -> Path:
        copied = tmp_path / f"copied by {name}"
        program = tmp_path / "bin" / name
        program.write_text(
            f"#!{sys.executable} -IS\n"
            f"import sys, time\n"
            f"with open({str(copied)!r}, 'w') as file:\n"
            f"    print(sys.argv[1:], sys.stdin.read(), sep='|', end='', file=file)\n"
            f"{ending}\n"
        )
        program.chmod(0o700)
        return copied

    return write


def copy(file: Path, *options: str) -> Result:
    """Run the command on the token's file."""
    return runner().invoke(cli, ["token", "token-file", "-o", f"path={file}", "--copy", *options])


@pytest.mark.parametrize(
    ("name", "desktop"),
    [("wl-copy", "WAYLAND_DISPLAY"), ("xclip", "DISPLAY"), ("xsel", "DISPLAY"), ("pbcopy", None)],
)
def test_each_desktop_has_its_program(
    token_file: Path,
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    desktop: str | None,
) -> None:
    """The text goes by standard input; nothing of it is printed, and no token without --raw."""
    arguments = {
        "xclip": "['-selection', 'clipboard']",
        "xsel": "['--clipboard', '--input']",
    }.get(name, "[]")
    copied = install(name)
    if desktop is not None:
        monkeypatch.setenv(desktop, ":0")
    token = token_file.read_text()
    done = copy(token_file)
    assert (done.exit_code, done.stdout) == (0, ""), done.output
    facts = copied.read_text()
    assert facts.startswith(f"{arguments}|")
    assert "of 1 min 30 s" in facts
    assert "\x1b" not in facts
    assert token not in facts + done.stderr
    assert '"lifetime": 90' in (copy(token_file, "--json"), copied.read_text())[1]
    done = copy(token_file, "--raw")
    assert copied.read_text() == f"{arguments}|{token}"
    assert token not in done.output


def test_no_program(token_file: Path) -> None:
    """Where nothing can copy, one line says what to install."""
    done = copy(token_file)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "none of wl-copy, xclip, xsel, pbcopy is on PATH" in line
    assert "install" in line


def test_no_desktop(token_file: Path, install: Install) -> None:
    """A program without its desktop is not even tried, and nothing is asked for in vain."""
    copied = install("xclip")
    token_file.unlink()
    done = copy(token_file)
    assert (done.exit_code, copied.exists()) == (2, False)
    assert "neither WAYLAND_DISPLAY nor DISPLAY" in done.stderr


def test_programs_that_fail(
    token_file: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is tried; where none does it, each is told with its reason."""
    monkeypatch.setattr(clipboard, "LIMIT", 5.0)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    install("wl-copy", "sys.exit(3)")
    install("xclip", "time.sleep(60)")
    done = copy(token_file, "--raw")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "wl-copy ended with status 3, xclip did not end within 5 s" in line
    assert token_file.read_text() not in done.output
    install("xsel")
    assert copy(token_file).exit_code == 0
