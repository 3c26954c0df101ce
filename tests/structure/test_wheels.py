"""The built wheels install and work where nothing of the workspace is in reach.

Only such an environment shows a wrong bound between members, a file missing from a wheel, or an
entry point that leads nowhere: in the workspace the members are simply there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PINS = ROOT / "requirements" / "dev.txt"
PACKAGES: list[dict[str, Any]] = tomllib.loads((ROOT / "monorepo.toml").read_text())["packages"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LOAD_ENTRY_POINTS = """
import importlib.metadata, pathlib, sys
names = sys.argv[1:]
for name in names:
    for entry in importlib.metadata.distribution(name).entry_points:
        entry.load()
        print(entry.group, entry.name)
for module in [name.replace("-", "_") for name in names]:
    assert pathlib.Path(sys.modules[module].__file__).is_relative_to(sys.prefix), module
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


def wheel(dist: Path, package: dict[str, Any]) -> Path:
    """Return the one wheel of a package."""
    (found,) = dist.glob(f"{package['import']}-*.whl")
    return found


def environment(folder: Path, *requirements: str) -> Path:
    """Return the Python of a new virtual environment with `requirements` in it.

    What `make setup` has downloaded is taken first, so that this passes without a network, too.
    """
    uv = BIN / "uv"
    run(uv, "venv", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    install: list[str | Path] = [uv, "pip", "install", "--python", python, "--constraints", PINS]
    if run(*install, "--offline", *requirements, cwd=folder, check=False).returncode != 0:
        run(*install, *requirements, cwd=folder)
    run(uv, "pip", "check", "--python", python, cwd=folder)
    return python


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package["distribution"]))
def test_wheel_holds_the_package_alone(dist: Path, package: dict[str, Any]) -> None:
    """A wheel has the package, its type marker and its licence, and no tests."""
    names = zipfile.ZipFile(wheel(dist, package)).namelist()
    info = [name for name in names if ".dist-info/" in name]
    assert any(name.endswith("licenses/LICENSE") for name in info)
    assert f"{package['import']}/py.typed" in names
    rest = set(names) - set(info)
    assert {name.partition("/")[0] for name in rest} == {package["import"]}
    assert [name for name in rest if "/tests/" in name] == []


def test_core_stands_alone(dist: Path, tmp_path: Path) -> None:
    """The core's wheel installs with its own few dependencies and imports."""
    core = PACKAGES[0]
    python = environment(tmp_path, str(wheel(dist, core)))
    run(python, "-I", "-W", "error", "-c", f"import {core['import']}", cwd=tmp_path)


def test_all_wheels_work_together(dist: Path, tmp_path: Path) -> None:
    """All wheels install side by side, and each of their entry points leads somewhere."""
    extras = {"mqauth": "[aws,oauth2]", "mqauth-sandbox": "[pytest]"}
    wheels = [
        f"{package['distribution']}{extras.get(package['distribution'], '')} @ "
        f"{wheel(dist, package).as_uri()}"
        for package in PACKAGES
    ]
    python = environment(tmp_path, *wheels)
    names = [package["distribution"] for package in PACKAGES]
    loaded = run(python, "-I", "-c", LOAD_ENTRY_POINTS, *names, cwd=tmp_path).stdout
    assert {"mqauth.providers oauth2", "console_scripts mqauth-sandbox"} <= set(loaded.splitlines())
    help_text = run(python.parent / "mqauth-sandbox", "--help", cwd=tmp_path).stdout
    assert "Usage" in help_text


def test_installing_registers_the_schemes(dist: Path, tmp_path: Path) -> None:
    """With the wheel of the Celery integration installed, Celery knows the URL schemes."""
    needed = [package for package in PACKAGES if package["distribution"] != "mqauth-sandbox"]
    python = environment(tmp_path, *(str(wheel(dist, package)) for package in needed))
    modules = run(python, "-I", "-c", NAME_SCHEMES, cwd=tmp_path).stdout.splitlines()
    assert len(modules) == 2
    assert all(module.startswith("celery_mqauth") for module in modules), modules
