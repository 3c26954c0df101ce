"""The built wheels install and work where nothing of the workspace is in reach.

Only such an environment shows a wrong bound between members, a file missing from a wheel, or an
entry point that leads nowhere: in the workspace the members are simply there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PINS = ROOT / "requirements" / "dev.txt"
PACKAGES: list[dict[str, Any]] = tomllib.loads((ROOT / "monorepo.toml").read_text())["packages"]
DISTRIBUTIONS = [package["distribution"] for package in PACKAGES]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LOAD_ENTRY_POINTS = """
import importlib, importlib.metadata, pathlib, sys
names = sys.argv[1:]
for name in names:
    for entry in importlib.metadata.distribution(name).entry_points:
        entry.load()
        print(entry.group, entry.name)
for module in [name.replace("-", "_") for name in names]:
    assert pathlib.Path(importlib.import_module(module).__file__).is_relative_to(sys.prefix), module
"""

NAME_SCHEMES = """
import celery
for scheme in ("mqauth", "mqauths"):
    app = celery.Celery(broker=f"{scheme}://oauth2@localhost/prod")
    print(app.connection_for_write().get_transport_cls().__module__)
"""


def run(*command: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command outside the workspace, with nothing of it in the environment."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    clean["UV_SYSTEM_CERTS"] = "true"
    done = subprocess.run(
        command, cwd=cwd, env=clean, check=False, capture_output=True, text=True, timeout=240
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with all wheels and source archives, freshly built."""
    folder = tmp_path_factory.mktemp("dist")
    build = ("build", "--all-packages", "--no-build-isolation", "--python", sys.executable)
    run(BIN / "uv", *build, "--out-dir", folder, cwd=ROOT)
    return folder


def wheel(dist: Path, distribution: str) -> Path:
    """Return the one wheel of a package."""
    (found,) = dist.glob(f"{distribution.replace('-', '_')}-*.whl")
    return found


def closure(*requirements: str) -> set[str]:
    """Return all distributions that `requirements` lead to, by the metadata of each."""
    found: set[tuple[str, frozenset[str]]] = set()
    ahead = [Requirement(line) for line in requirements]
    while ahead:
        need = ahead.pop()
        key = (canonicalize_name(need.name), frozenset(need.extras))
        if key not in found:
            found.add(key)
            children = map(Requirement, metadata.requires(need.name) or [])
            ahead += [child for child in children if applies(child, need.extras)]
    return {name for name, _ in found}


def applies(need: Requirement, extras: set[str]) -> bool:
    """Return whether a requirement holds here, with `extras` asked for."""
    marker = need.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""})


def pins(names: set[str]) -> str:
    """Return the pinned and hashed entries of `names`."""
    entries = re.split(r"\n(?=\w)", PINS.read_text())
    return "\n".join(entry for entry in entries if entry.partition("==")[0] in names)


def environment(folder: Path, dist: Path, *requirements: str) -> Path:
    """Return the Python of a new virtual environment that holds what `requirements` lead to.

    Members come from their wheels, all others by their pins: from what `make setup` has
    downloaded if it is still there, so that this passes without a network, too. The installer
    resolves nothing, and its check at the end finds what is missing or out of bounds.
    """
    names = closure(*requirements)
    members = sorted(names & set(DISTRIBUTIONS))
    python = folder / "venv" / "bin" / "python"
    third_parties = folder / "third_parties.txt"
    third_parties.write_text(pins(names - set(members)))
    pip = (BIN / "uv", "pip")
    run(BIN / "uv", "venv", "--python", sys.executable, folder / "venv", cwd=folder)
    sync = (*pip, "sync", "--require-hashes", "--python", python, third_parties)
    if run(*sync, "--offline", cwd=folder, check=False).returncode != 0:
        run(*sync, cwd=folder)
    wheels = [wheel(dist, name) for name in members]
    run(*pip, "install", "--offline", "--no-deps", "--python", python, *wheels, cwd=folder)
    run(*pip, "check", "--python", python, cwd=folder)
    return python


@pytest.mark.parametrize("package", PACKAGES, ids=DISTRIBUTIONS)
def test_wheel_holds_the_package_alone(dist: Path, package: dict[str, Any]) -> None:
    """A wheel has the package, its type marker, its licence and its scripts, and no tests."""
    names = zipfile.ZipFile(wheel(dist, package["distribution"])).namelist()
    info = [name for name in names if ".dist-info/" in name]
    assert any(name.endswith("licenses/LICENSE") for name in info)
    assert f"{package['import']}/py.typed" in names
    scripts = [name for name in names if ".data/scripts/" in name]
    rest = set(names) - set(info) - set(scripts)
    assert {name.partition("/")[0] for name in rest} == {package["import"]}
    assert [name for name in rest if "/tests/" in name] == []


def test_core_stands_alone(dist: Path, tmp_path: Path) -> None:
    """The core's wheel imports beside its own few dependencies."""
    python = environment(tmp_path, dist, "mqauth")
    run(python, "-I", "-W", "error", "-c", "import mqauth", cwd=tmp_path)


def test_all_wheels_work_together(dist: Path, tmp_path: Path) -> None:
    """All wheels work side by side, and each of their entry points leads somewhere."""
    python = environment(
        tmp_path,
        dist,
        "mqauth[aws,oauth2]",
        "celery-mqauth",
        "django-mqauth",
        "credproc",
        "mqauth-sandbox[pytest]",
    )
    loaded = run(python, "-I", "-c", LOAD_ENTRY_POINTS, *DISTRIBUTIONS, cwd=tmp_path).stdout
    assert {"mqauth.providers oauth2", "console_scripts mqauth-sandbox"} <= set(loaded.splitlines())
    help_text = run(python.parent / "mqauth-sandbox", "--help", cwd=tmp_path).stdout
    assert "Usage" in help_text
    assert run(python.parent / "credproc", "version", cwd=tmp_path).stdout.strip()


def test_installing_registers_the_schemes(dist: Path, tmp_path: Path) -> None:
    """With the wheel of the Celery integration installed, Celery knows the URL schemes."""
    python = environment(tmp_path, dist, "celery-mqauth")
    modules = run(python, "-I", "-c", NAME_SCHEMES, cwd=tmp_path).stdout.splitlines()
    assert len(modules) == 2
    assert all(module.startswith("celery_mqauth") for module in modules), modules
