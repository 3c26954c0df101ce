"""What stands in for slow modules of the standard library behaves as they do."""

from __future__ import annotations

import copy
import importlib
import json
import pkgutil
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import credproc
from credproc import light
from credproc.credentials import SessionCredentials
from credproc.quick_json import read_json, write_json
from credproc.secret import Secret

# Made at run time, since type checkers know both as one.
OURS: Any = light.NamedTuple
THEIRS: Any = typing.NamedTuple


class Ours(OURS):  # type: ignore[misc] # see above
    """A pair."""

    first: int
    """The first."""
    second: str = "two"

    @property
    def both(self) -> str:
        """Both."""
        return f"{self.first}{self.second}"


class Theirs(THEIRS):  # type: ignore[misc] # see above
    """A pair."""

    first: int
    second: str = "two"


def test_named_tuples_are_alike() -> None:
    """Fields, defaults, keywords, comparison, unpacking and copies are those of `typing`."""
    pairs: list[tuple[Any, Any]] = [
        (Ours(1), Theirs(1)),
        (Ours(1, "x"), Theirs(1, "x")),
        (Ours(second="x", first=2), Theirs(second="x", first=2)),
        (Ours(3)._replace(second="y"), Theirs(3)._replace(second="y")),
    ]
    for ours, theirs in pairs:
        assert ours == theirs
        assert hash(ours) == hash(theirs)
        assert tuple(ours) == tuple(theirs)
        assert ours._asdict() == theirs._asdict()
        assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
        assert isinstance(ours, tuple)
        assert copy.deepcopy(ours) == ours
    assert Ours(1).both == "1two"
    assert Ours._fields == Theirs._fields
    assert Ours._field_defaults == Theirs._field_defaults


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_named_tuples_refuse_alike(kind: Any) -> None:
    """Missing, surplus, unknown and repeated fields are refused, and so are changes."""
    for values, named in (
        ((), {}),
        ((1, 2, 3), {}),
        ((1,), {"third": 3}),
        ((1,), {"first": 3}),
        ((), {"second": 3}),
    ):
        with pytest.raises(TypeError):
            kind(*values, **named)
    with pytest.raises(AttributeError):
        kind(1).first = 2
    with pytest.raises(AttributeError):
        kind(1).third = 3


def test_every_named_tuple_has_its_fields() -> None:
    """Every class of the package has the fields that its annotations say."""
    found = 0
    for module in pkgutil.walk_packages(credproc.__path__, "credproc."):
        if module.name.rpartition(".")[2] == "__main__":
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, OURS) and value is not OURS:
                kind: Any = value
                assert tuple(kind.__annotations__) == kind._fields
                found += 1
    assert found > 15


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values, st.sampled_from([None, 2]), st.booleans())
def test_json_is_read_alike(value: object, indent: int | None, ascii_only: bool) -> None:  # noqa: FBT001
    """Documents are read as the `json` module reads them."""
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:  # a lone surrogate
        return
    assert read_json(text) == json.loads(text)
    assert read_json(b" \r\n\t" + text + b"\n") == json.loads(text)


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn\\u \n', max_size=30) | st.text())
def test_what_is_no_json(text: str) -> None:
    """What the `json` module refuses is refused, with the same kind of error."""
    try:
        expected = json.loads(text)
    except (ValueError, RecursionError):
        with pytest.raises((ValueError, RecursionError)):
            read_json(text.encode("utf-8", "surrogatepass"))
    else:
        # As text, since NaN, which `json` takes, is not equal to itself.
        assert repr(read_json(text.encode())) == repr(expected)


NO_JSON = [
    b"",
    b" ",
    b"{} {}",
    b"\xff",
    b"[1,]",
    b'{"a"',
    b'["\n"]',
    b"nul",
    b"<html>",
    b'{"a":1,}',
]
IN_A_FRESH_PYTHON = """
import sys
sys.path.insert(0, sys.argv[1])
from credproc.quick_json import read_json
loaded = "json" in sys.modules
for text in sys.argv[2:]:
    try:
        print(loaded, repr(read_json(bytes.fromhex(text))))
    except ValueError:
        print(loaded, "ValueError")
"""


@pytest.mark.parametrize("text", NO_JSON)
def test_json_that_is_none(text: bytes) -> None:
    """What is none is refused also where the `json` module has not been loaded before."""
    package = str(Path(credproc.__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IN_A_FRESH_PYTHON, package, text.hex(), "5b315d"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "False ValueError\nFalse [1]\n"
    with pytest.raises(ValueError):  # noqa: PT011 - any
        read_json(text)


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_json_is_written_alike(document: dict[str, str | int]) -> None:
    """Objects are written as the `json` module writes them."""
    assert write_json(document) == json.dumps(document, separators=(",", ":"))


def test_credentials_are_written_with_escapes() -> None:
    """What a service puts into keys cannot break out of the document."""
    credentials = SessionCredentials('A"}', Secret("\\ü\n"), Secret("t"), 0)
    assert json.loads(credentials.to_json())["SecretAccessKey"] == "\\ü\n"
    assert json.loads(credentials.to_json())["AccessKeyId"] == 'A"}'
