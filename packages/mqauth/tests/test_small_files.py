"""Files that options name: a pipe is not waited for, a device not read to its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mqauth import CredentialSource
from mqauth.config.small_file import check_readable
from mqauth.diagnosis.findings import BrokenLinkError
from mqauth.diagnosis.network import context
from mqauth.errors import ConfigurationError
from mqauth.management.http import Http

OAUTH2 = {
    "provider": "oauth2",
    "issuer": "https://login.example.com",
    "client_id": "x",
    "client_secret": "y",
}
READERS: dict[str, Callable[[str], object]] = {
    "a provider": lambda path: CredentialSource.from_config({**OAUTH2, "ca_file": path}),
    "the management API": lambda path: Http("https://localhost", ca_file=path),
    "the doctor": lambda path: context("the broker", path),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_holds_no_authorities(reader: str, tmp_path: Path) -> None:
    """Whoever reads authorities refuses a pipe that nobody writes to, at once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises((ConfigurationError, BrokenLinkError), match="it is not a regular file"):
        READERS[reader](str(pipe))


def test_authorities_that_are_no_path() -> None:
    """The doctor finds what is wrong; it does not fail over it."""
    wrong: Any = 5
    with pytest.raises(BrokenLinkError, match="authorities 5 cannot be used: it is an int"):
        context("the broker", wrong)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/dev/zero", "it is not a regular file"),
        ("/", "it is not a regular file"),
        ("/nowhere", "No such file"),
        ("/etc/\0", "no path has such characters"),
        (5, "it is an int"),
        (None, "it is nothing"),
    ],
)
def test_what_is_no_small_file(path: object, problem: str) -> None:
    """Each of them is an error of the system, in words."""
    with pytest.raises(OSError, match=problem):
        check_readable(path)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    """A file is as large as its kind may be, and no larger."""
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    check_readable(file, 5)
    with pytest.raises(OSError, match="larger than 4 bytes"):
        check_readable(file, 4)
