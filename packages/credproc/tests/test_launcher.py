"""The launcher survives installers, links and lazy shells."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

MEMBER = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a program and return what it printed."""
    done = started(*command, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a program that fails and return the one line that it says."""
    done = started(*command, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def started(
    *command: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in an environment that has nothing else."""
    return subprocess.run(
        [str(word) for word in command],
        env={"PATH": "/usr/bin:/bin", **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd="/",
    )


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


def user_scheme(home: Path, prefix: Path) -> Path:
    """Lay out what `pip install --user` would, and return the launcher."""
    packages = next(home.glob("lib/python3*/site-packages"))
    there = prefix / packages.relative_to(home)
    there.mkdir(parents=True)
    for entry in packages.iterdir():
        if entry.name.startswith(("credproc", "cryptography", "_cffi")):
            entry.rename(there / entry.name)
    launcher = prefix / "bin" / "credproc"
    launcher.parent.mkdir()
    (home / "bin" / "credproc").rename(launcher)
    return launcher


def test_another_environment_on_the_path(home: Path, tmp_path: Path) -> None:
    """After `pip install --user` its own package runs, whatever environment is first on the PATH.

    As in an interactive shell, where somebody has activated the environment of a project.
    """
    alone = user_scheme(home, tmp_path / "local")
    first = f"{home}/bin:/usr/bin:/bin"
    assert run(alone, "version", env={"PATH": first, "HOME": str(tmp_path)}).strip()
    code = "import sys, credproc; print(credproc.__file__)"
    assert started(home / "bin" / "python3", "-c", code).returncode == 1


def test_no_other_release_is_started(home: Path, tmp_path: Path) -> None:
    """A package of another release than the launcher's is left alone; one line says what to do."""
    alone = tmp_path / "local" / "bin" / "credproc"
    alone.parent.mkdir(parents=True)
    launcher = (home / "bin" / "credproc").read_text()
    alone.write_text(launcher.replace("release=", "release=9"))
    alone.chmod(0o755)
    said = refused(alone, "version", env={"PATH": f"{home}/bin:/usr/bin:/bin"})
    assert said.startswith("credproc: no Python has credproc 9")


def test_python_without_the_package(home: Path) -> None:
    """Where the package was removed from beside the launcher, one line says so."""
    packages = next(home.glob("lib/python3*/site-packages"))
    (packages / "credproc").rename(home / "gone")
    said = refused(home / "bin" / "credproc", "version")
    assert said.startswith(f"credproc: {home}/bin/python3 has no credproc (")


def test_launcher_knows_its_release() -> None:
    """The release in the launcher is the package's."""
    project = tomllib.loads((MEMBER / "pyproject.toml").read_text())["project"]
    launcher = (MEMBER / "launcher" / "credproc").read_text()
    assert f"\nrelease={project['version']} #" in launcher


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
