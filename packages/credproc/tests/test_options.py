"""Flags, environment and named profiles, and which of them wins."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from credproc.arguments import read_quickly
from credproc.arns import check_target
from credproc.cli import run
from credproc.errors import UsageError
from credproc.flags import FLAGS, SWITCH
from credproc.options import SessionOptions, Value, build
from credproc.profiles import config_path, load_profile, profile_names

ARNS = {"role_arn": "r", "profile_arn": "p", "trust_anchor_arn": "t"}


def test_every_flag_is_an_option() -> None:
    """The table of flags and the fields of the options agree."""
    environment_only = {"use_fips", "use_dualstack", "ca_bundle", "max_attempts"}
    assert {flag.field for flag in FLAGS} | environment_only == set(SessionOptions._fields)


def test_order_of_sources() -> None:
    """A flag beats the environment, which beats the profile, which beats the default."""
    profile: dict[str, Value] = {"region": "profile", "session_duration": 1000, "backend": "native"}
    environ = {"CREDPROC_REGION": "environment", "CREDPROC_SESSION_DURATION": "2000"}
    options = build({**ARNS, "region": "flag"}, environ, profile)
    assert options.region == "flag"
    assert options.session_duration == 2000
    assert options.backend == "native"
    assert build(dict(ARNS), {}).session_duration == 3600


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL": "a"}, "a"),
        ({"AWS_ENDPOINT_URL": "a", "AWS_ENDPOINT_URL_ROLESANYWHERE": "b"}, "b"),
        ({"AWS_ENDPOINT_URL": "a", "CREDPROC_ENDPOINT": "c"}, "c"),
    ],
)
def test_endpoint_variables(variables: dict[str, str], endpoint: str) -> None:
    """The nearer variable decides the endpoint."""
    assert build(dict(ARNS), variables).endpoint == endpoint


def test_missing_and_wrong() -> None:
    """What is missing or cannot be converted is named."""
    with pytest.raises(UsageError, match="--trust-anchor-arn, --role-arn not given"):
        build({"profile_arn": "p"}, {})
    with pytest.raises(UsageError, match="AWS_MAX_ATTEMPTS"):
        build(dict(ARNS), {"AWS_MAX_ATTEMPTS": "many"})
    with pytest.raises(UsageError, match="AWS_USE_FIPS_ENDPOINT"):
        build(dict(ARNS), {"AWS_USE_FIPS_ENDPOINT": "perhaps"})


def test_passwords_do_not_show() -> None:
    """Options show no password."""
    assert "hunter2" not in repr(build({**ARNS, "pkcs8_password": "hunter2"}, {}))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--region", "x"], {"region": "x"}),
        (["credential-process", "--region=x", "--debug"], {"region": "x", "debug": True}),
        (["--debug=false"], {"debug": "false"}),
        (["--region"], None),
        (["--region", "--debug"], None),
        (["--unknown", "x"], None),
        (["serve", "--region", "x"], None),
        (["onprem"], None),
        (["--help"], None),
        ([], None),
        (["-x"], None),
    ],
)
def test_quick_reading(words: list[str], found: object) -> None:
    """A plain line is read quickly; whatever is unusual is left to argparse."""
    assert read_quickly(words) == found


def test_argparse_agrees(capfd: pytest.CaptureFixture[str]) -> None:
    """Each flag that is read quickly is one that argparse knows."""
    assert run(["credential-process", "--help"]) == 0
    shown = capfd.readouterr().out
    assert all(f"--{flag.name} " in shown or f"--{flag.name}\n" in shown for flag in FLAGS)
    assert any(flag.kind == SWITCH for flag in FLAGS)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file of named profiles."""
    path = tmp_path / "config.toml"
    path.write_text(
        '[defaults]\ntrust-anchor-arn = "t"\nsession-duration = 900\n'
        '[profiles.onprem]\ncertificate = "host.pem"\nprivate-key = "pkcs11:object=x"\n'
        'profile_arn = "p"\nrole-arn = "r"\nwith-proxy = true\n'
        '[profiles.bad]\nrol-arn = "r"\n'
    )
    return path


def test_profiles(config: Path) -> None:
    """An entry adds to the defaults; paths are relative to the file, URIs are not paths."""
    environ = {"CREDPROC_CONFIG": str(config)}
    options = build({}, environ_without(environ), load_profile("onprem", environ))
    assert options.certificate == str(config.parent / "host.pem")
    assert options.private_key == "pkcs11:object=x"
    assert (options.session_duration, options.with_proxy) == (900, True)
    assert profile_names(environ) == ["bad", "onprem"]


def environ_without(environ: dict[str, str]) -> dict[str, str]:
    """Return the environment that is no option."""
    return {name: value for name, value in environ.items() if name != "CREDPROC_CONFIG"}


def test_profile_mistakes(config: Path, tmp_path: Path) -> None:
    """A name or key that is nearly right gets the nearest one as its remedy."""
    environ = {"CREDPROC_CONFIG": str(config)}
    with pytest.raises(UsageError, match="did you mean onprem"):
        load_profile("onpren", environ)
    with pytest.raises(UsageError, match="did you mean role-arn"):
        load_profile("bad", environ)
    with pytest.raises(UsageError, match="cannot be read"):
        load_profile("x", {"CREDPROC_CONFIG": str(tmp_path / "none")})
    config.write_text("profiles = 1\n")
    with pytest.raises(UsageError, match="a table belongs"):
        load_profile("x", environ)
    config.write_text("= 1\n")
    with pytest.raises(UsageError, match="is no TOML"):
        load_profile("x", environ)


@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_a_configuration_that_is_no_file(tmp_path: Path, kind: str) -> None:
    """A pipe is not waited for, nor a device read."""
    path = tmp_path / "config.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/null")
    environ = {"CREDPROC_CONFIG": str(path)}
    problem = rf"the configuration {path} is not a regular file; write it, or name another"
    with pytest.raises(UsageError, match=problem):
        load_profile("onprem", environ)
    assert profile_names(environ) == []


def test_commands_answer(capfd: pytest.CaptureFixture[str]) -> None:
    """A profile that is none and a line without a command are usage errors of one line."""
    assert run(["version"]) == 0
    assert capfd.readouterr().out.count(".") == 2
    assert run(["no-such-profile"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("credproc: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("word", ["t", "T", "1", "true", "TRUE", "True"])
def test_truth_as_go_writes_it(word: str) -> None:
    """What the official helper takes for true and false is taken for that."""
    assert build({**ARNS, "with_proxy": word}, {}).with_proxy
    false = {"1": "0", "t": "f", "T": "F"}.get(word) or {"true": "false", "TRUE": "FALSE"}.get(word)
    assert not build({**ARNS, "with_proxy": false or "False"}, {}).with_proxy


@pytest.mark.parametrize("field", ["intermediates", "role_session_name", "endpoint", "region"])
def test_an_empty_value_is_none(field: str) -> None:
    """An empty flag, which scripts write for the official helper, is one that is not given."""
    assert getattr(build({**ARNS, field: ""}, {}), field) is None
    assert getattr(build({**ARNS, field: ""}, {f"CREDPROC_{field.upper()}": "x"}), field) == "x"


@pytest.mark.parametrize(
    ("line", "profile"),
    [
        (["--debug", "onprem"], "onprem"),
        (["--no-cache", "onprem"], "onprem"),
        (["credential-process", "--with-proxy", "onprem"], "onprem"),
        (["doctor", "--debug", "onprem"], "onprem"),
        (["--debug", "false", "onprem"], "onprem"),
        (["--no-cache", "--debug", "onprem"], "onprem"),
        (["onprem", "--debug"], "onprem"),
    ],
)
def test_a_bare_switch_takes_no_word(
    line: list[str],
    profile: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The word after a switch is the profile, unless it is a truth value."""
    config = tmp_path / "config.toml"
    config.write_text("[profiles.other]\n")
    monkeypatch.setenv("CREDPROC_CONFIG", str(config))
    assert run(line) == 2
    captured = capfd.readouterr()
    assert f"has no profile '{profile}'" in captured.err + captured.out


@pytest.mark.parametrize("command", [[], ["update"], ["read-certificate-data"]])
def test_no_flag_is_abbreviated(command: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """What is no whole flag is none: whether a value is a password hangs on the flag's name."""
    for words in (["--pkcs8-passw=hunter2"], ["onprem", "--pkcs8-passw", "hunter2"]):
        assert run([*command, *words]) == 2
        error = capfd.readouterr().err
        assert "--pkcs8-passw" in error
        assert "hunter2" not in error
    assert run([*command, "--certif", "x"]) == 2
    assert "--certif" in capfd.readouterr().err


@pytest.mark.parametrize(
    "region", ["evil.com/", "eu west", "eu-w\u00e9st-1", "eu_west", "-", "1", "EU-WEST-1", "x#"]
)
def test_regions_that_make_no_host(region: str) -> None:
    """What all ARNs agree on must still be a region: the request's host is made of it."""
    arns: dict[str, Value] = {
        "trust_anchor_arn": f"arn:aws:rolesanywhere:{region}:123456789012:trust-anchor/x",
        "profile_arn": f"arn:aws:rolesanywhere:{region}:123456789012:profile/x",
        "role_arn": "arn:aws:iam::123456789012:role/x",
    }
    with pytest.raises(UsageError, match="names a region that is none"):
        check_target(build(arns, {}))


@pytest.mark.parametrize("number", ["99999999999999999999", "86401", "9" * 5000, "0"])
@pytest.mark.parametrize("flag", ["--time-limit", "--connect-timeout", "--read-timeout"])
def test_times_that_cannot_be(number: str, flag: str) -> None:
    """A time limit that no clock could wait for is a mistake of the line's."""
    arns: dict[str, Value] = {
        "trust_anchor_arn": "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/x",
        "profile_arn": "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/x",
        "role_arn": "arn:aws:iam::123456789012:role/x",
    }
    assert check_target(build(arns, {})).region == "eu-west-1"
    with pytest.raises(UsageError, match=flag):
        check_target(build({**arns, flag[2:].replace("-", "_"): number}, {}))


def test_help_names_the_file_that_is_read(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every help that speaks of named entries names the same file, which is the one."""
    monkeypatch.setenv("HOME", "/home/me")
    named = "~/.config/credproc/config.toml"
    assert config_path({}) == named.replace("~", "/home/me")
    for words in ([], ["credential-process"], ["doctor"], ["serve"], ["setup"], ["update"]):
        assert run([*words, "--help"]) == 0
        assert named in capfd.readouterr().out


def test_module_starts() -> None:
    """`python -m credproc` is the command too."""
    import sys  # noqa: PLC0415

    done = subprocess.run(
        [sys.executable, "-P", "-m", "credproc", "version"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.count(".") == 2
