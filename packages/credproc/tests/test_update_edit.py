"""What `update` and `setup` change in an AWS file, and above all what they do not."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from botocore.configloader import raw_config_parse
from botocore.exceptions import ConfigParseError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from credproc.awsfiles.edit import read_section, set_keys
from credproc.errors import UsageError

KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
VALUES = {
    "aws_access_key_id": "ASIANEW",
    "aws_secret_access_key": "s/+=",
    "aws_session_token": "T==",
}

NAMES = ("default", "a", "profile b", "b", "ünïcode")
LINES = st.one_of(
    st.sampled_from([f"[{name}]" for name in NAMES]),
    st.sampled_from(["[a] ; trailing", "  [a]", "[ a ]", "[a]]", "[", "[]"]),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "", "  ", "\t"]),
        st.sampled_from(
            [*KEYS, "AWS_ACCESS_KEY_ID", "region", "s3", "output", "credential_process"]
        ),
        st.sampled_from(["=", " = ", "= ", ":", " : "]),
        st.sampled_from(["", "x", "AKIAOLD", "a = b", "x # no comment", "ü"]),
    ),
    st.sampled_from(
        ["", " ", "# comment", "  ; indented", "  max_concurrent_requests = 20", "junk"]
    ),
)
ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r"])
WILD = st.builds(
    lambda lines, last: "".join(text + end for text, end in lines) + last,
    st.lists(st.tuples(LINES, ENDS), max_size=14),
    st.sampled_from(["", "# no newline", "region = x", "[a]"]),
)
ENTRIES = st.tuples(
    st.sampled_from(["", "", "", "  ", "\t"]),
    st.sampled_from([*KEYS, "region", "s3", "output"]),
    st.sampled_from(["=", " = ", "= ", ":"]),
    st.sampled_from(["", "x", "a = b", "x # no comment", "\n  nested = 1", "old\n\n   more", "#"]),
    st.sampled_from(["\n", "\n", "\n\n", "\n# comment\n", "\n  ; indented\n"]),
)
SECTIONS = st.tuples(
    st.sampled_from(NAMES),
    st.lists(ENTRIES, max_size=5, unique_by=lambda entry: entry[1]).map(
        lambda entries: "".join("".join(entry) for entry in entries)
    ),
)
TIDY = st.builds(
    lambda sections, end: (
        "".join(f"[{name}]\n{body}" for name, body in sections).rstrip("\n").replace("\n", end)
    ),
    st.lists(SECTIONS, max_size=4, unique_by=lambda section: section[0]),
    ENDS,
)
FILES = st.one_of(WILD, TIDY)


def parsed(path: Path, content: bytes) -> dict[str, dict[str, object]] | None:
    """Return what botocore reads, None if it cannot read the file."""
    path.write_bytes(content)
    try:
        return raw_config_parse(str(path))
    except ConfigParseError:
        return None


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a path that every example writes to."""
    return tmp_path_factory.mktemp("edit") / "credentials"


@settings(deadline=None)
@given(text=FILES, name=st.sampled_from(["a", "default", "new"]))
@example(text="[a]\n  region = x\n", name="a")
@example(text="[a]\naws_session_token =\n  one\n\n  two\nregion = x\n", name="a")
@example(text="[a]\ns3 =\n  aws_access_key_id = nested\n", name="a")
def test_botocore_reads_the_new_values_and_everything_else_as_before(
    scratch: Path, text: str, name: str
) -> None:
    """Where botocore could read the file, it finds the new keys, and all others as they were."""
    content = text.encode()
    before = parsed(scratch, content)
    after = parsed(scratch, set_keys(content, [name], VALUES))
    if before is None:
        # A file that was beyond it may stay so, but never for what we wrote.
        return
    assert after is not None
    assert {key: after[name][key] for key in KEYS} == VALUES
    others = {key: value for key, value in before.get(name, {}).items() if key not in KEYS}
    assert {key: value for key, value in after[name].items() if key not in KEYS} == others
    assert {key: value for key, value in after.items() if key != name} == {
        key: value for key, value in before.items() if key != name
    }


@settings(deadline=None)
@given(text=FILES, name=st.sampled_from(["a", "default", "new"]))
def test_no_line_but_the_keys_own_changes(text: str, name: str) -> None:
    """Lines only go if they were a value of one of the keys, and only come if they are one."""
    before = text.encode()
    after = set_keys(before, [name], VALUES)
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    written = {value.encode() for value in VALUES.values()}
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for tag, _, _, first, last in matcher.get_opcodes():
        if tag == "equal":
            continue
        for line in new[first:last]:
            stripped = line.strip()
            added = stripped.rpartition(b" ")[2] in written
            assert (
                added
                or stripped in (b"", f"[{name}]".encode(), old[-1].strip() if old else b"")
                or (
                    # A header at the very end gains the line's end it lacked.
                    line.rstrip(b"\r\n") in {part.rstrip(b"\r\n") for part in old}
                )
            )


@settings(deadline=None)
@given(text=FILES, name=st.sampled_from(["a", "default", "new"]))
@example(text="[a]\n[\n  [a]\n", name="a")
def test_writing_twice_is_writing_once(text: str, name: str) -> None:
    """The second update with the same credentials changes nothing."""
    once = set_keys(text.encode(), [name], VALUES)
    assert set_keys(once, [name], VALUES) == once


@settings(deadline=None)
@given(
    content=st.binary(max_size=200).filter(lambda c: b"\0" not in c and c[:3] != b"\xef\xbb\xbf")
)
def test_bytes_that_are_no_utf8_survive(content: bytes) -> None:
    """A file in another encoding keeps its bytes; the new section comes after them."""
    if b"[" in content:
        content = content.replace(b"[", b"(")
    assert set_keys(content, ["a"], VALUES).startswith(content)


def test_exact_result_for_a_file_with_everything() -> None:
    """Comments, CRLF, a nested block, other profiles and spelling of keys stay byte by byte."""
    before = (
        b"# head\r\n[other]\r\naws_access_key_id=KEEP\r\n\r\n"
        b"[a]\r\nregion : eu-west-1\r\nAWS_Access_Key_Id=OLD\r\n"
        b"s3 =\r\n  aws_session_token = no\r\naws_session_token = one\r\n  more\r\n; tail"
    )
    assert set_keys(before, ["a"], VALUES) == (
        b"# head\r\n[other]\r\naws_access_key_id=KEEP\r\n\r\n"
        b"[a]\r\naws_secret_access_key = s/+=\r\nregion : eu-west-1\r\n"
        b"AWS_Access_Key_Id= ASIANEW\r\ns3 =\r\n  aws_session_token = no\r\n"
        b"aws_session_token = T==\r\n; tail"
    )


def test_every_duplicate_section_gets_the_same_keys() -> None:
    """SDKs differ in which duplicate they believe, so all of them say the same."""
    after = set_keys(b"[a]\nregion = x\n[a]\n", ["a"], {"k": "v"})
    assert after == b"[a]\nk = v\nregion = x\n[a]\nk = v\n"


def test_new_section_in_an_empty_file() -> None:
    """An empty file becomes the section and nothing else."""
    assert set_keys(b"", ["a"], {"k": "v"}) == b"[a]\nk = v\n"


def test_new_section_after_a_line_without_end() -> None:
    """The last line gets the end it lacks before a section follows."""
    assert set_keys(b"[b]\nx = 1", ["a"], {"k": "v"}) == b"[b]\nx = 1\n\n[a]\nk = v\n"


@pytest.mark.parametrize("name", ["", " a", "a]", "a\nb", "[", "a\x00"])
def test_names_that_break_the_file_are_refused(name: str) -> None:
    """No profile name can smuggle another section or key into the file."""
    with pytest.raises(UsageError, match="no profile can be called"):
        set_keys(b"", [name], VALUES)


@pytest.mark.parametrize("value", ["zq\nb = c", "zq\r", "zq\x00", " zq"])
def test_values_that_break_the_file_are_refused_and_not_shown(value: str) -> None:
    """No value can smuggle another line into the file, and none is quoted in the error."""
    with pytest.raises(UsageError, match="break the file's lines") as caught:
        set_keys(b"", ["a"], {"aws_session_token": value})
    assert "zq" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe[\0a\0]\0", b"\xef\xbb\xbf[a]\n"])
def test_files_no_sdk_can_read_are_refused(content: bytes) -> None:
    """UTF-16 and byte order marks are named instead of made worse."""
    with pytest.raises(UsageError, match=r"null bytes|byte order mark"):
        set_keys(content, ["a"], VALUES)


def test_the_last_of_several_values_is_read() -> None:
    """Reading a section gives what a merging parser gives."""
    assert read_section(b"[a]\nk = 1\n[b]\nk = 2\n[a]\nK = 3\n", ["a"]) == {"k": "3"}
