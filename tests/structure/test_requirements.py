"""The pinned requirements are complete, hashed, and name no place they came from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements"
MEMBERS = {path.parent.name: path for path in ROOT.glob("packages/*/pyproject.toml")}
PIN_FILES = sorted(FOLDER.glob("*.txt"))

each_file = pytest.mark.parametrize("path", PIN_FILES, ids=lambda path: path.name)


def pins(path: Path) -> dict[str, Version]:
    """Return the pinned version of each distribution in a compiled requirements file."""
    found = re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


def promises() -> list[Requirement]:
    """Return all that the members require of others."""
    found = []
    for path in MEMBERS.values():
        project = tomllib.loads(path.read_text())["project"]
        extras = project.get("optional-dependencies", {}).values()
        found += [
            Requirement(line) for lines in (project["dependencies"], *extras) for line in lines
        ]
    return [need for need in found if canonicalize_name(need.name) not in MEMBERS]


def tools() -> list[Requirement]:
    """Return what the workspace's own groups require, the members and uv left out."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return [Requirement(line) for name in ("build", "test", "lint", "run") for line in groups[name]]


@each_file
def test_everything_is_pinned_and_hashed(path: Path) -> None:
    """Each entry has one exact version and at least one SHA-256."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    entries = text.replace("\\\n", " ").strip().splitlines()
    pattern = re.compile(r"[\w.-]+==[\w.+!-]+( ; [^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert [entry for entry in entries if not pattern.fullmatch(entry)] == []


@each_file
def test_members_are_not_pinned(path: Path) -> None:
    """The members come from this tree, so no file of pins names them."""
    assert not pins(path).keys() & MEMBERS.keys()


def test_pins_satisfy_what_is_required() -> None:
    """Each requirement of a member or a group has a pin within its bounds."""
    pinned = pins(FOLDER / "dev.txt")
    for need in promises() + tools():
        assert need.specifier.contains(pinned[canonicalize_name(need.name)]), str(need)


def test_oldest_pins_are_the_promised_bounds() -> None:
    """`make test-oldest` runs on the very lower bounds that the members promise."""
    oldest = pins(FOLDER / "oldest.constraints")
    used_by_tests = {canonicalize_name(need.name) for need in tools()}
    bounds: dict[str, Version] = {}
    for need in promises():
        lower = [Version(part.version) for part in need.specifier if part.operator == ">="]
        name = canonicalize_name(need.name)
        bounds[name] = max([*lower, bounds[name]] if name in bounds else lower)
    assert oldest == {name: low for name, low in bounds.items() if name not in used_by_tests}


def test_oldest_pins_are_compiled() -> None:
    """The compiled file for `make test-oldest` holds those bounds."""
    compiled = pins(FOLDER / "oldest.txt")
    oldest = pins(FOLDER / "oldest.constraints")
    assert {name: compiled[name] for name in oldest} == oldest
