"""What the documentation of the repository holds: code, commands, tables, links."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
READMES = (ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md")))
EXAMPLE = ROOT / "examples" / "django" / "README.md"
PAGES = (*READMES, EXAMPLE, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md")
CHANGELOGS = tuple(sorted(ROOT.glob("packages/*/CHANGELOG.md")))

_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A block of code.

    Args:
        page: The file it stands in.
        line: Line of its first character.
        language: First word behind the fence; empty for an indented block.
        text: The code.
        section: The nearest heading above.
    """

    page: Path
    line: int
    language: str
    text: str
    section: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table; its cells are Markdown, the cells of `rows` without those of the head."""

    section: str
    head: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def column(self, number: int) -> list[str]:
        """Return the cells of one column."""
        return [row[number] for row in self.rows]


@cache
def tokens(page: Path) -> tuple[Token, ...]:
    """Return a page as Markdown tokens."""
    parser = MarkdownIt("commonmark").enable("table")
    return tuple(parser.parse(page.read_text(encoding="utf-8")))


def blocks(*pages: Path) -> list[Block]:
    """Return all blocks of code."""
    return [
        Block(
            page=page,
            line=token.map[0] + (2 if token.type == "fence" else 1),
            language=token.info.split(" ")[0],
            text=token.content,
            section=section,
        )
        for page in pages
        for section, token in _in_sections(page)
        if token.type in ("fence", "code_block") and token.map
    ]


def tables(page: Path) -> list[Table]:
    """Return all tables of a page."""
    found: list[Table] = []
    for section, token in _in_sections(page):
        if token.type == "table_open":
            found.append(Table(section=section, head=[]))
        elif token.type == "tr_open" and found[-1].head:
            found[-1].rows.append([])
        elif token.type == "inline" and token.level and found and token.meta.get("cell"):
            cells = found[-1].rows[-1] if found[-1].rows else found[-1].head
            cells.append(token.content)
    return found


def table(page: Path, section: str) -> Table:
    """Return the one table of a section."""
    found = [each for each in tables(page) if each.section == section]
    assert len(found) == 1, f"{page} has {len(found)} tables under {section!r}"
    return found[0]


def links(page: Path) -> list[str]:
    """Return where all links of a page lead."""
    return [
        str(child.attrs["href"])
        for token in tokens(page)
        for child in token.children or ()
        if child.type == "link_open"
    ]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {
        _NOT_IN_ANCHORS.sub("", heading.lower()).replace(" ", "-") for heading in headings(page)
    }


def headings(page: Path) -> list[str]:
    """Return a page's headings without their mark-up."""
    pairs = itertools.pairwise(tokens(page))
    return [_plain(inline) for before, inline in pairs if before.type == "heading_open"]


def spans(page: Path) -> list[str]:
    """Return the code in all running text of a page."""
    return [
        child.content
        for token in tokens(page)
        for child in token.children or ()
        if child.type == "code_inline"
    ]


def code_spans(markdown: str) -> list[str]:
    """Return the code in a piece of inline Markdown."""
    (inline,) = MarkdownIt("commonmark").parseInline(markdown)
    return [child.content for child in inline.children or () if child.type == "code_inline"]


def _in_sections(page: Path) -> Iterator[tuple[str, Token]]:
    section, before = "", ""
    for token in tokens(page):
        if before == "heading_open":
            section = _plain(token)
        elif before in ("td_open", "th_open"):
            token.meta["cell"] = True
        yield section, token
        before = token.type


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())
