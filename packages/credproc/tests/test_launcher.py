"""The launcher survives installers, links and lazy shells."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

MEMBER = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a program and return what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        env={"PATH": "/usr/bin:/bin", **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as users get it."""
    folder = tmp_path_factory.mktemp("dist")
    options = ["--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable]
    run(UV, "build", *options, "--out-dir", folder, MEMBER, env={"HOME": str(folder)})
    return next(folder.glob("*.whl"))


def install(installer: str, home: Path, wheel: Path) -> None:
    """Install the wheel into an environment, by one of the installers."""
    options: Sequence[str | Path] = ["install", "--quiet", "--no-deps", wheel]
    if installer == "uv":
        run(UV, "pip", *options, "--python", home / "bin" / "python", env={"HOME": str(home)})
    else:
        run(sys.executable, "-m", "pip", "--python", home / "bin" / "python", *options)


@pytest.fixture(params=["pip", "uv"])
def home(request: pytest.FixtureRequest, tmp_path: Path, wheel: Path) -> Path:
    """An environment with the wheel installed, and with what it needs of this one."""
    path = tmp_path / "a folder" / "venv"
    venv.create(path, symlinks=True)
    install(request.param, path, wheel)
    packages = next(path.glob("lib/python3*/site-packages"))
    for name in ("cryptography", "_cffi_backend"):
        for source in _sources(name):
            (packages / source.name).symlink_to(source)
    return path


def _sources(name: str) -> list[Path]:
    import cryptography  # noqa: PLC0415 - to see where it is

    return list(Path(cryptography.__file__).parent.parent.glob(f"{name}*"))


def test_installed_by(home: Path) -> None:
    """Installers copy the launcher unchanged, and it works."""
    program = home / "bin" / "credproc"
    assert program.read_text() == (MEMBER / "launcher" / "credproc").read_text()
    assert run(program, "version").strip()
    shown = run(program, "credential-process", "--help")
    assert "--trust-anchor-arn" in shown


def test_by_links(home: Path, tmp_path: Path) -> None:
    """Links to it, one behind the other, work as `pipx` and `uv tool` put them on the PATH."""
    first, second = tmp_path / "first", tmp_path / "bin" / "credproc"
    second.parent.mkdir()
    first.symlink_to(home / "bin" / "credproc")
    second.symlink_to(os.path.relpath(first, second.parent))
    assert run(second, "version").strip()
    assert run("sh", "-c", "credproc version", env={"PATH": f"{second.parent}:/usr/bin:/bin"})


def test_python_without_a_neighbour(home: Path, tmp_path: Path) -> None:
    """Without a Python beside it, as after `pip install --user`, the PATH's is taken."""
    alone = tmp_path / "local" / "bin" / "credproc"
    alone.parent.mkdir(parents=True)
    alone.write_text((home / "bin" / "credproc").read_text())
    alone.chmod(0o755)
    assert run(alone, "version", env={"PATH": f"{home}/bin:/usr/bin:/bin"}).strip()


def test_python_starts_bare(home: Path) -> None:
    """Neither the environment's variables nor the working directory reach Python's path."""
    evil = home / "evil"
    evil.mkdir()
    (evil / "json.py").write_text("raise SystemExit('foreign code')")
    program = home / "bin" / "credproc"
    assert run(program, "version", env={"PYTHONPATH": str(evil)}).strip()


def test_packages_elsewhere(home: Path) -> None:
    """Where our package is not beside Python, as in an editable install, `site` finds it."""
    packages = next(home.glob("lib/python3*/site-packages"))
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    (packages / "credproc").rename(elsewhere / "credproc")
    (packages / "elsewhere.pth").write_text(f"{elsewhere}\n")
    assert run(home / "bin" / "credproc", "version").strip()


def test_warm_path_imports_nothing(home: Path) -> None:
    """Python's own short way loads no module of ours but two, and none of the library's."""
    packages = next(home.glob("lib/python3*/site-packages"))
    code = (
        f"import sys; before = set(sys.modules); sys.path.append({str(packages)!r})\n"
        "import credproc.entry, credproc.shortcut as s\n"
        "s.cached_answer(['--role-arn', 'x'])\n"
        "print(sorted(set(sys.modules) - before))"
    )
    loaded = run(home / "bin" / "python", "-I", "-S", "-c", code)
    assert loaded.strip() == "['credproc', 'credproc.entry', 'credproc.shortcut']"


def test_cold_path_imports_little(home: Path) -> None:
    """What the command needs to sign does not load what costs more than it gives."""
    packages = next(home.glob("lib/python3*/site-packages"))
    code = (
        f"import sys; sys.path.append({str(packages)!r})\n"
        "import credproc.output, credproc.create_session, credproc.tls, credproc.answer\n"
        "print(*sorted(sys.modules))"
    )
    loaded = set(run(home / "bin" / "python", "-I", "-S", "-c", code).split())
    heavy = {"ssl", "socket", "argparse", "dataclasses", "datetime", "pathlib", "subprocess"}
    assert not loaded & (heavy | {"threading", "inspect", "email", "http", "urllib", "logging"})
