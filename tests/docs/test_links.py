"""Links between the files of the repository lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.documents import CHANGELOGS, PAGES, ROOT, anchors, links, table

each_page = pytest.mark.parametrize(
    "page", [*PAGES, *CHANGELOGS], ids=lambda page: str(page.relative_to(ROOT))
)
ELSEWHERE = re.compile(r"(https|mailto):")


def problem(page: Path, link: str) -> str | None:
    """Return what is wrong with a link inside the repository, or None."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return f"{link}: there is no such file"
    if anchor and anchor not in anchors(target):
        return f"{link}: {target.name} has no such heading"
    return None


@each_page
def test_links_resolve(page: Path) -> None:
    """A link inside the repository leads to a file and, behind #, to one of its headings."""
    inside = [link for link in links(page) if not ELSEWHERE.match(link)]
    assert [found for link in inside if (found := problem(page, link))] == []


def test_architecture_names_real_modules() -> None:
    """Each module in ARCHITECTURE's table is there."""
    for _, cell in table(ROOT / "ARCHITECTURE.md", "Where to find things").rows:
        folder = Path()
        for name in re.findall(r"`([^`]+)`", cell):
            path = Path(name)
            folder = path.parent if path.parent != Path() else folder
            assert any(place.exists() for place in places(folder / path.name)), name


def places(path: Path) -> list[Path]:
    """Return where a module may be, whose path begins with its import package."""
    packages = ROOT.glob("packages/*/src")
    return [ROOT / path, *(package / path for package in packages)]


def test_a_broken_link_is_noticed() -> None:
    """What looks for broken links finds one."""
    page = ROOT / "README.md"
    assert problem(page, "no-such-file.md") is not None
    assert problem(page, "CONTRIBUTING.md#no-such-heading") is not None
    assert problem(page, "CONTRIBUTING.md#tests") is None
