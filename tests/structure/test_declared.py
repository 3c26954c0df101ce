"""What a package imports, its own metadata requires: a user has nothing else installed."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGES: list[dict[str, Any]] = tomllib.loads((ROOT / "monorepo.toml").read_text())["packages"]

each_package = pytest.mark.parametrize(
    "package", PACKAGES, ids=lambda package: str(package["distribution"])
)


def imported(source: Path) -> set[str]:
    """Return the top-level modules that a file imports when it runs, wherever in it."""
    return {name.partition(".")[0] for name in _imports(ast.parse(source.read_text()))}


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _imports(node)


def required(package: dict[str, Any]) -> set[str]:
    """Return the distributions that a package requires, its extras and itself included."""
    project = tomllib.loads((ROOT / package["path"] / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    lines = [line for lines in (project["dependencies"], *extras) for line in lines]
    return {package["distribution"], *(canonicalize_name(Requirement(line).name) for line in lines)}


def used_by(package: dict[str, Any]) -> dict[str, set[str]]:
    """Return each module a package imports, with the distributions that provide it."""
    providers = dict(packages_distributions())
    providers |= {member["import"]: [member["distribution"]] for member in PACKAGES}
    sources = (ROOT / package["path"] / "src").rglob("*.py")
    modules = set().union(*map(imported, sources)) - sys.stdlib_module_names
    return {module: set(map(canonicalize_name, providers[module])) for module in modules}


def brought_along(names: set[str]) -> set[str]:
    """Return what the distributions `names` themselves always require, as boto3 does botocore."""
    lines = [line for name in names for line in requires(name) or []]
    needs = [need for need in map(Requirement, lines) if need.marker is None]
    return {canonicalize_name(need.name) for need in needs}


@each_package
def test_imports_are_required(package: dict[str, Any]) -> None:
    """Each third-party import is of a distribution that the package's requirements install."""
    direct = required(package)
    allowed = direct | brought_along(direct)
    missing = {module for module, names in used_by(package).items() if not names & allowed}
    assert missing == set()
