"""`credproc setup` writes one line that every SDK reads alike, and leaves everything else alone."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from botocore.configloader import load_config
from hypothesis import given, settings
from hypothesis import strategies as st

from credproc.awsfiles import command
from credproc.awsfiles.profiles import config_sections
from credproc.cli import run
from credproc.errors import UsageError
from credproc.setup_profile import command_words, this_program

ARNS = [
    *("--role-arn", "arn:aws:iam::123456789012:role/r"),
    *("--profile-arn", "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/p"),
    *("--trust-anchor-arn", "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/t"),
]
LETTERS = st.characters(codec="utf-8", exclude_categories=["Cs"])
WORDS = st.one_of(
    st.text(LETTERS, max_size=12),
    st.text(st.sampled_from("aB1 /-_.;#'\"$`\\!~*&|<>()[]{}?=%\t\nü"), max_size=12),
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of an AWS config in an empty home, that the command will use."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "CREDPROC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".aws" / "config"


def written(config: Path, profile: str) -> list[str]:
    """Return the command that botocore would run for a profile."""
    profiles: dict[str, dict[str, str]] = load_config(str(config))["profiles"]
    return shlex.split(profiles[profile]["credential_process"])


def backups(config: Path) -> list[Path]:
    """Return the copies that were kept."""
    return sorted(config.parent.glob("config.*.bak"))


def test_a_new_profile(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line has this program and every path in full, whatever directory it was written in."""
    flags = ["--certificate", "host.pem", "--private-key", "pkcs11:token=t;object=o"]
    assert run(["setup", "--profile", "onprem", *flags, *ARNS]) == 0
    assert written(config, "onprem") == [
        *this_program(),
        *ARNS,
        *("--certificate", str(config.parent.parent / "host.pem")),
        *("--private-key", "pkcs11:token=t;object=o"),
    ]
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert list(config.parent.iterdir()) == [config]
    assert capsys.readouterr().out == ""
    assert os.access(this_program()[0], os.X_OK)


def test_twice_is_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second time changes nothing, keeps no copy and says so."""
    assert run(["setup", "--certificate", "host.pem", *ARNS]) == 0
    before = config.stat().st_mtime_ns
    assert run(["setup", "--certificate", "host.pem", *ARNS]) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert config.stat().st_mtime_ns == before
    assert backups(config) == []


def test_everything_else_stays_and_a_copy_is_kept(config: Path) -> None:
    """Other profiles, comments and the file's mode stay; the old file is kept, private."""
    config.parent.mkdir()
    old = b"# mine\r\n[profile a]\r\nregion = x\r\n\r\n[profile 'on prem']\r\noutput=json"
    config.write_bytes(old)
    config.chmod(0o644)
    assert run(["setup", "--profile", "on prem", "--certificate", "c.pem", *ARNS]) == 0
    line = config.read_bytes().split(b"credential_process = ")[1].split(b"\r\n")[0]
    assert config.read_bytes() == old.replace(
        b"on prem']\r\n", b"on prem']\r\ncredential_process = " + line + b"\r\n"
    )
    assert written(config, "on prem")[1:7] == ARNS
    assert stat.S_IMODE(config.stat().st_mode) == 0o644
    (backup,) = backups(config)
    assert backup.read_bytes() == old
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_dry_run_shows_and_does_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The diff shows the new line; secrets of the user's beside it are hidden."""
    config.parent.mkdir()
    old = (
        "[default]\naws_secret_access_key = s3cret\ncredential_process = x --pkcs8-password pw1\n"
        "# x --private-key pkcs11:token=t?pin-value=pw1 --endpoint https://me:pw1@host\n"
    )
    config.write_text(old)
    assert run(["setup", "--dry-run", "--certificate", "host.pem", *ARNS]) == 0
    shown = capsys.readouterr().out
    assert "+credential_process = " in shown
    assert "s3cret" not in shown
    assert "pw1" not in shown
    assert config.read_text() == old


def write_entry(path: Path, name: str = "onprem") -> None:
    """Write a config file of ours with one entry."""
    path.parent.mkdir(parents=True)
    pairs = zip(ARNS[::2], ARNS[1::2], strict=True)
    lines = [f'{flag.removeprefix("--")} = "{value}"' for flag, value in pairs]
    path.write_text(f"[profiles.{name}]\ncertificate = 'c.pem'\n" + "\n".join(lines))


def test_a_named_entry(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of our own file makes a short line, and must exist and be complete."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    write_entry(tmp_path / ".config" / "credproc" / "config.toml")
    assert run(["setup", "onprem"]) == 0
    assert written(config, "default") == [*this_program(), "onprem"]
    assert run(["setup", "onprme"]) == 2


def test_an_entry_that_is_called_like_a_command(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its line says that it is an entry, and gives credentials, not another command."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    write_entry(tmp_path / ".config" / "credproc" / "config.toml", "update")
    assert run(["setup", "update"]) == 0
    assert written(config, "default") == [*this_program(), "credential-process", "update"]


@pytest.mark.parametrize("variable", ["CREDPROC_CONFIG", "XDG_CONFIG_HOME"])
def test_an_entry_that_sdks_would_not_find(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
) -> None:
    """A file that only a variable of this shell names is no place for what SDKs are to run."""
    path = tmp_path / "elsewhere" / "credproc" / "config.toml"
    write_entry(path)
    value = path if variable == "CREDPROC_CONFIG" else path.parent.parent
    monkeypatch.setenv(variable, str(value))
    assert run(["setup", "onprem"]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert ".config/credproc/config.toml" in error
    assert not config.exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--certificate", "c.pem"], "--trust-anchor-arn, --profile-arn, --role-arn not given"),
        ([*ARNS, "--pkcs8-password", "pw"], "cannot be written into the AWS config"),
        ([*ARNS, "--tpm-key-password=pw"], "use --key-password-file"),
        ([*ARNS, "--certificate", "pkcs11:token=t?pin-value=pw"], "pin-source=file:PATH"),
        ([*ARNS, "--private-key=pkcs11:token=t?pin-value=pw"], "the PIN in --private-key"),
        ([*ARNS, "--endpoint", "https://me:pw@host"], "the user in --endpoint"),
        ([*ARNS, "--certificate", "a$b"], "cannot stand in credential_process"),
        ([*ARNS, "--certificate", "a #b"], "for a comment"),
        ([*ARNS, "--region", "us-east-1"], "leave --region out"),
        ([*ARNS, "--profile", "DEFAULT"], "write default"),
        ([*ARNS, "--profile", "a'b"], "leave quotes"),
        ([*ARNS, "--profile", "a]b"], "no profile can be called"),
    ],
)
def test_what_cannot_work_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    """Nothing is written that an SDK could not use, or that holds a password."""
    assert run(["setup", *flags]) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert "=pw" not in errors
    assert not config.exists()


def test_variables_of_this_shell_do_not_count(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that only this shell's environment gives would be missing when an SDK runs it."""
    monkeypatch.setenv("CREDPROC_ROLE_ARN", ARNS[1])
    assert run(["setup", "--certificate", "c.pem", *ARNS[2:]]) == 2
    assert "--role-arn not given" in capsys.readouterr().err


def test_what_overshadows_the_line_is_told(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys and roles that SDKs prefer are named, as the line would never be used."""
    config.parent.mkdir()
    config.write_text("[profile p]\nrole_arn = x\nlogin_session = y\n")
    (config.parent / "credentials").write_text("[p]\naws_access_key_id = AKIA\n")
    assert run(["setup", "--profile", "p", "--certificate", "c.pem", *ARNS]) == 0
    errors = capsys.readouterr().err
    assert "warning: the credentials file has keys for this profile" in errors
    assert "warning: the profile has role_arn" in errors
    assert "warning: the profile has login_session" in errors


def test_a_directory_that_takes_no_files(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A config that cannot be written is one line and exit code 8."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/sys/kernel/config-of-aws")
    assert run(["setup", "--certificate", "c.pem", *ARNS]) == 8
    assert "/sys/kernel/config-of-aws cannot be written" in capsys.readouterr().err


@settings(max_examples=150, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=4))
def test_shells_and_python_read_the_command_alike(words: list[str]) -> None:
    """Whatever is not refused means the same to a POSIX shell, to shlex and in a config file."""
    words = ["/bin/echo", *words]
    try:
        line = command.join(words)
    except UsageError:
        return
    assert shlex.split(line) == words
    shown = subprocess.run(
        ["/bin/sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, timeout=20
    ).stdout.decode()
    assert shown.split("\0")[:-1] == words
    assert line == line.strip()
    assert " #" not in line
    assert " ;" not in line


def test_paths_with_blanks_are_quoted() -> None:
    """The usual awkward paths work."""
    words = ["/opt/my apps/credproc", "--certificate", "/etc/it's mine.pem", "pkcs11:a=b;c=d"]
    assert command.join(words) == (
        '"/opt/my apps/credproc" --certificate "/etc/it\'s mine.pem" "pkcs11:a=b;c=d"'
    )


def test_switches_and_selectors() -> None:
    """A switch stands alone, one that is off is left out, and a selector's file gets its path."""
    words = command_words(
        ["c"], None, {"debug": True, "no_cache": "false", "cert_selector": "file:///x/../y"}
    )
    assert words == ["c", "--debug", "--cert-selector", "file:///y"]


def test_every_spelling_of_a_profile_is_known() -> None:
    """Sections that are quoted or spaced otherwise are the same profile, as for botocore."""
    content = b"[profile a]\n[profile  'a']\n[profile \"a\"]\n[a]\n[profile ab]\n[profile a b]\n"
    assert config_sections(content, "a") == [
        "profile a",
        "profile a",
        "profile  'a'",
        'profile "a"',
    ]
    assert config_sections(b"[profile default]\n[default]\n", "default")[1:] == [
        "profile default",
        "default",
    ]
