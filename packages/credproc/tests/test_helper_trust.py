"""Which helper may be run at all: a version that can do it, where only we could have put it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from credproc.errors import HelperError
from credproc.helper import session
from credproc.helper.locate import check_trusted, find_helper
from credproc.helper.session import check_version
from fake_helper import fake


@pytest.mark.parametrize(
    ("version", "problem"),
    [("1.4.9", "is version 1.4.9, which is too old"), ("", "does not say"), ("x.y.z", "does not")],
)
def test_old_or_silent_versions_are_refused(tmp_path: Path, version: str, problem: str) -> None:
    """A helper that lacks flags we use is refused before it is run, with the version to install."""
    path = fake(tmp_path, "", version)
    with pytest.raises(HelperError, match=rf"{problem}.*install 1\.5\.0 or newer"):
        check_version(path, {})


def test_version_comes_from_the_build_where_it_is_not_printed(
    mqauth_official_helper: Path, tmp_path: Path
) -> None:
    """A helper that prints no version, as `go install` makes it, is known by its build record."""
    printed = check_version(str(mqauth_official_helper), {"PATH": os.defpath})
    path = fake(tmp_path, "", "")
    module = b"\tmod\tgithub.com/aws/rolesanywhere-credential-helper\tv1.7.3\th1:x\n"
    with Path(path).open("ab") as file:
        file.write(b"exit\n" + module)
    assert check_version(path, {"PATH": os.defpath}) == (1, 7, 3)
    assert printed >= (1, 5, 0)


def test_a_version_that_came_late_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that was busy for a moment does not rule the helper out for good."""
    path = fake(tmp_path, "")
    with monkeypatch.context() as patch:
        patch.setattr(session, "VERSION_LIMIT", 0.0)
        with pytest.raises(HelperError, match="does not say"):
            check_version(path, {})
    assert check_version(path, {}) == (9, 9, 9)


class TestTrust:
    """Who could have put the helper there."""

    @pytest.fixture
    def helper(self, tmp_path: Path) -> Path:
        """A helper that nobody else may write, in a directory of its own."""
        directory = tmp_path / "bin"
        directory.mkdir(mode=0o755)
        return Path(fake(directory, ""))

    def test_a_private_one_is_taken_by_flag_and_by_path(self, helper: Path) -> None:
        """Both ways lead to the same file; relative entries of PATH are passed over."""
        assert find_helper(str(helper), {}) == str(helper)
        assert find_helper(None, {"PATH": f":.:bin:{helper.parent}"}) == str(helper)

    @pytest.mark.parametrize("mode", [0o775, 0o757])
    def test_a_writable_file_is_refused(self, helper: Path, mode: int) -> None:
        """Group or world may write the file itself."""
        helper.chmod(mode)
        with pytest.raises(HelperError, match=rf"others .* may write {helper}; chown root"):
            check_trusted(str(helper))

    @pytest.mark.parametrize("mode", [0o775, 0o777])
    def test_a_writable_directory_is_refused(self, helper: Path, mode: int) -> None:
        """Who may write the directory may replace the file."""
        helper.parent.chmod(mode)
        with pytest.raises(HelperError, match=rf"may write {helper.parent};"):
            check_trusted(str(helper))

    def test_a_directory_further_up_counts(self, helper: Path) -> None:
        """Who may write a directory above may replace the one below."""
        nested = helper.parent / "a" / "b"
        nested.mkdir(parents=True)
        moved = shutil.move(helper, nested / helper.name)
        (helper.parent / "a").chmod(0o777)
        with pytest.raises(HelperError, match=rf"may write {helper.parent}/a;"):
            check_trusted(str(moved))

    def test_the_way_of_a_link_counts(self, helper: Path, tmp_path: Path) -> None:
        """A link in a directory of others' could lead elsewhere tomorrow."""
        loose = tmp_path / "loose"
        loose.mkdir()
        link = loose / "aws_signing_helper"
        link.symlink_to(helper)
        check_trusted(str(link))
        loose.chmod(0o777)
        with pytest.raises(HelperError, match=rf"may write {loose};"):
            check_trusted(str(link))
        other = tmp_path / "other"
        other.symlink_to("loose/aws_signing_helper")
        with pytest.raises(HelperError, match=rf"may write {loose};"):
            check_trusted(str(other))

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_another_user_is_refused(self, helper: Path) -> None:
        """Whoever owns the file may write it, whatever its mode."""
        os.chown(helper, 65534, 65534)
        with pytest.raises(HelperError, match="refused: others than root"):
            check_trusted(str(helper))

    def test_missing_circular_and_no_program(self, tmp_path: Path) -> None:
        """Each is one line with the path."""
        circle = tmp_path / "circle"
        circle.symlink_to(circle)
        plain = tmp_path / "plain"
        plain.write_text("x")
        plain.chmod(0o644)
        for path, words in (
            (tmp_path / "none", "No such file"),
            (circle, "too many links"),
            (plain, "no executable"),
            (tmp_path, "no executable"),
        ):
            with pytest.raises(HelperError, match=words):
                check_trusted(str(path))
        with pytest.raises(HelperError, match=r"no aws_signing_helper on PATH; install"):
            find_helper(None, {"PATH": str(tmp_path)})
