"""Sets keys of a section of an AWS config or credentials file and keeps every other byte.

The rules for what is a section, a key and a continuation are those of Python's `configparser`,
which botocore and the AWS CLI read these files with: a line that is indented deeper than the key
above it belongs to that key's value. Where the other SDKs read a file differently, what is written
here means the same to all of them: every duplicate of the section gets the same values, and no
value is left to be continued by a line of the user's.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from credproc.errors import UsageError

# What Python's universal newlines take for the end of a line, and nothing else.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_SECTION = re.compile(r"\[(?P<name>.+)\]")
_KEY = re.compile(r"(?P<key>.*?)\s*(?P<delimiter>[=:])\s*")
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(kw_only=True)
class _Line:
    text: str
    end: str
    section: str | None = None
    """The section that this line opens."""
    key: str | None = None
    """The key, in lower case, whose value starts on this line."""
    continues: bool = False
    """Whether the line goes on with the value of the key above."""
    blank: bool = False
    """Whether there is nothing on the line, or a comment."""


@dataclass(kw_only=True)
class _Section:
    name: str
    header: int
    """Index of the section's header among the lines."""
    keys: dict[str, list[int]] = field(default_factory=dict)
    """Indices of the lines where each key's value starts."""
    indent: str = ""
    """White space before what follows the header: a key that stood further left than that would
    make it part of its own value."""


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in the errors of what is done with its content."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", remedy=error.remedy) from None


def section_names(content: bytes) -> list[str]:
    """Return the names of the sections, as they are written, in the file's order."""
    return [section.name for section in _sections(_parse(_decode(content)))]


def read_section(content: bytes, names: Iterable[str]) -> dict[str, str]:
    """Return the first lines of the values in all sections called one of `names`; the last wins."""
    lines = _parse(_decode(content))
    found: dict[str, str] = {}
    for section in _sections(lines):
        if section.name in names:
            for key, indices in section.keys.items():
                found[key] = _value(lines[indices[-1]].text)
    return found


def set_keys(content: bytes, names: Iterable[str], values: Mapping[str, str]) -> bytes:
    """Return `content` with `values` set in the section called by one of `names`.

    Args:
        content: The file as it is.
        names: Spellings of the section's name; the first is used if the section is to be made.
        values: Keys in lower case, and what they shall be.

    Raises:
        UsageError: The file is no text, or a name, key or value would change the file's meaning.
    """
    names = list(names)
    _refuse_what_breaks_lines(names, values)
    lines = _parse(_decode(content))
    sections = [section for section in _sections(lines) if section.name in names]
    end = next((line.end for line in lines if line.end), "\n")
    inserted: dict[int, list[str]] = {}
    dropped: set[int] = set()
    for section in sections:
        missing = []
        for key, value in values.items():
            for index in section.keys.get(key, []):
                lines[index].text = _with_value(lines[index].text, value)
                dropped.update(_continuations(lines, index))
            if key not in section.keys:
                missing.append(f"{section.indent}{key} = {value}{end}")
        inserted[section.header] = missing
    if not sections:
        return _encode(_appended(lines, names[0], values, end))
    return _encode(_joined(lines, inserted, dropped, end))


def _joined(
    lines: list[_Line], inserted: Mapping[int, list[str]], dropped: set[int], end: str
) -> str:
    parts: list[str] = []
    for index, line in enumerate(lines):
        if index in dropped:
            continue
        new = inserted.get(index, [])
        parts += [line.text, line.end or (end if new else ""), *new]
    return "".join(parts)


def _appended(lines: list[_Line], name: str, values: Mapping[str, str], end: str) -> str:
    parts = [line.text + line.end for line in lines]
    if lines:
        if not lines[-1].end:
            parts.append(end)
        if lines[-1].text.strip():
            parts.append(end)
    parts.append(f"[{name}]{end}")
    parts += [f"{key} = {value}{end}" for key, value in values.items()]
    return "".join(parts)


def _parse(text: str) -> list[_Line]:
    lines: list[_Line] = []
    section = False
    key_indent: int | None = None
    for match in _LINE.finditer(text):
        whole = match.group()
        body = whole.rstrip("\r\n")
        line = _Line(text=body, end=whole[len(body) :])
        lines.append(line)
        stripped = body.strip()
        if not stripped or stripped.startswith(("#", ";")):
            line.blank = True
            continue
        indent = len(_indent(body))
        if section and key_indent is not None and indent > key_indent:
            line.continues = True
        elif header := _SECTION.match(stripped):
            line.section, section, key_indent = header["name"], True, None
        elif section and (entry := _KEY.match(stripped)):
            line.key, key_indent = entry["key"].lower(), indent
    return lines


def _sections(lines: list[_Line]) -> list[_Section]:
    sections: list[_Section] = []
    for index, line in enumerate(lines):
        if line.section is not None:
            indent = _indent_below(lines, index)
            sections.append(_Section(name=line.section, header=index, indent=indent))
        elif line.key is not None:
            sections[-1].keys.setdefault(line.key, []).append(index)
    return sections


def _indent_below(lines: list[_Line], header: int) -> str:
    """Return an indentation below which no line up to the first key is any deeper."""
    deepest = ""
    for line in lines[header + 1 :]:
        if not line.blank:
            deepest = max(deepest, _indent(line.text), key=len)
        if line.key is not None or line.section is not None:
            break
    return deepest


def _indent(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]


def _continuations(lines: list[_Line], start: int) -> list[int]:
    """Return the indices of the lines that go on with the value that starts at `start`."""
    found = []
    for index in range(start + 1, len(lines)):
        if lines[index].section is not None or lines[index].key is not None:
            break
        if lines[index].continues:
            found.append(index)
    return found


def _with_value(text: str, value: str) -> str:
    """Return the line with another value; its indentation and spelling of the key are kept.

    A colon between key and value is understood by Python alone, so it becomes an equals sign.
    """
    indent = _indent(text)
    entry = _KEY.match(text.lstrip())
    assert entry is not None  # noqa: S101 - it matched when the line was parsed
    if entry["delimiter"] == "=":
        return f"{indent}{text.lstrip()[: entry.end()].rstrip()} {value}"
    return f"{indent}{entry['key']} = {value}"


def _value(text: str) -> str:
    entry = _KEY.match(text.lstrip())
    return text.lstrip()[entry.end() :].strip() if entry else ""


def _refuse_what_breaks_lines(names: list[str], values: Mapping[str, str]) -> None:
    for name in names:
        if not name or name != name.strip() or not name.isprintable() or set(name) & set("[]"):
            raise UsageError(
                f"no profile can be called {name!r}",
                remedy="use letters, digits, dashes, dots and underscores",
            )
    if any(not value.isprintable() or value != value.strip() for value in values.values()):
        raise UsageError(
            f"a value for {', '.join(values)} holds characters that would break the file's lines",
            remedy="check what issued it",
        )


def _decode(content: bytes) -> str:
    if b"\0" in content:
        raise UsageError(
            "the file holds null bytes, so it is no AWS config file",
            remedy="name another file, or save this one as UTF-8",
        )
    text = content.decode("utf-8", "surrogateescape")
    if text.startswith(_BYTE_ORDER_MARK):
        raise UsageError(
            "the file starts with a byte order mark, which SDKs cannot read",
            remedy="save it as UTF-8 without a byte order mark",
        )
    return text


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
