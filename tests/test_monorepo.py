"""The map of the monorepo agrees with what its packages say of themselves."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGES: list[dict[str, Any]] = tomllib.loads((ROOT / "monorepo.toml").read_text())["packages"]
DISTRIBUTIONS = [package["distribution"] for package in PACKAGES]

each_package = pytest.mark.parametrize("package", PACKAGES, ids=DISTRIBUTIONS)


def pyproject(folder: Path) -> dict[str, Any]:
    """Return the pyproject.toml of `folder`."""
    return tomllib.loads((folder / "pyproject.toml").read_text())


def requirements(package: dict[str, Any]) -> list[Requirement]:
    """Return what a package requires, its extras included."""
    project = pyproject(ROOT / package["path"])["project"]
    extras = project.get("optional-dependencies", {}).values()
    return [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]


def siblings(package: dict[str, Any]) -> list[Requirement]:
    """Return what a package requires of this repository."""
    return [need for need in requirements(package) if canonicalize_name(need.name) in DISTRIBUTIONS]


def test_map_lists_every_package() -> None:
    """The map names each folder under packages, and nothing else."""
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("packages/*/pyproject.toml")}
    assert {Path(package["path"]) for package in PACKAGES} == folders


def test_workspace_knows_every_package() -> None:
    """The workspace takes each package from this tree rather than from an index."""
    uv = pyproject(ROOT)["tool"]["uv"]
    assert uv["sources"] == {name: {"workspace": True} for name in DISTRIBUTIONS}


def test_makefile_knows_every_package() -> None:
    """The Makefile's list of members is the map's."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    assert f"MEMBERS := {' '.join(DISTRIBUTIONS)}" in lines


@each_package
def test_names_agree(package: dict[str, Any]) -> None:
    """A package's metadata, its import package and its wheel carry the names of the map."""
    member = pyproject(ROOT / package["path"])
    assert member["project"]["name"] == package["distribution"]
    assert (ROOT / package["path"] / "src" / package["import"] / "__init__.py").is_file()
    wheel = member["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == [f"src/{package['import']}"]


@each_package
def test_depends_on_what_it_may(package: dict[str, Any]) -> None:
    """A package requires exactly those siblings that the map allows it."""
    own = {package["distribution"]}
    required = {canonicalize_name(need.name) for need in siblings(package)} - own
    assert required == set(package["may_depend_on"])


@each_package
def test_comes_after_its_dependencies(package: dict[str, Any]) -> None:
    """The order of the map is an order in which the packages can be released."""
    earlier = DISTRIBUTIONS[: DISTRIBUTIONS.index(package["distribution"])]
    assert set(package["may_depend_on"]) <= set(earlier)


@each_package
def test_sibling_bounds_hold(package: dict[str, Any]) -> None:
    """A bound on a sibling admits the version that stands beside it."""
    paths = {other["distribution"]: ROOT / other["path"] for other in PACKAGES}
    for need in siblings(package):
        version = pyproject(paths[canonicalize_name(need.name)])["project"]["version"]
        assert need.specifier.contains(version, prereleases=True), str(need)


@each_package
def test_ships_what_users_look_for(package: dict[str, Any]) -> None:
    """A package has a README, a changelog, the licence itself (no link) and its type marker."""
    folder = ROOT / package["path"]
    assert (folder / "README.md").read_text().startswith("# ")
    assert (folder / "src" / package["import"] / "py.typed").is_file()
    licence = folder / "LICENSE"
    assert not licence.is_symlink()
    assert licence.read_text() == (ROOT / "LICENSE").read_text()


@each_package
def test_changelog_knows_the_version(package: dict[str, Any]) -> None:
    """The changelog has a heading for the version at hand, or for what is not released yet."""
    folder = ROOT / package["path"]
    version = pyproject(folder)["project"]["version"]
    headings = [
        line for line in (folder / "CHANGELOG.md").read_text().splitlines() if line.startswith("##")
    ]
    known = (f"## [{version}]", f"## {version}", "## [Unreleased]", "## Unreleased")
    assert any(line.startswith(known) for line in headings), headings


@each_package
def test_promises_the_same_python(package: dict[str, Any]) -> None:
    """All packages and the workspace ask for the same Python."""
    root = pyproject(ROOT)["project"]["requires-python"]
    assert pyproject(ROOT / package["path"])["project"]["requires-python"] == root
