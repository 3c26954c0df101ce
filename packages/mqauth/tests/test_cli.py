"""The `mqauth` command: what it prints, what it never prints, and how it ends."""

from __future__ import annotations

import json
import logging
import os
import pty
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from mqauth.cli import commands
from mqauth.cli.log_lines import log_lines
from mqauth.cli.root import Commands, cli
from mqauth.config.registry import provider_names
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.sts import StsEndpoint
from mqauth_sandbox.tls import CertificateFiles
from tests.separate_streams import runner

LIMIT = 30.0

Run = Callable[..., Result]


@pytest.fixture
def run(
    issuer: OidcIssuer,
    certificates: CertificateFiles,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Run:
    """Run the command in an environment that leads to the issuer, with one named entry."""
    secret = tmp_path / "secret"
    secret.write_text(issuer.client_secret)
    config = tmp_path / "mqauth.toml"
    config.write_text(
        "[billing]\n"
        'provider = "oauth2"\n'
        f'issuer = "{issuer.issuer_url}"\n'
        f'client_id = "{issuer.client_id}"\n'
        f'client_secret_file = "{secret}"\n'
        f'ca_file = "{certificates.ca_file}"\n'
    )
    monkeypatch.setenv("MQAUTH_CONFIG", str(config))
    monkeypatch.setenv("MQAUTH_CACHE", "off")
    return lambda *arguments: runner().invoke(cli, arguments)


def facts(done: Result) -> dict[str, Any]:
    """Return the JSON that a run printed."""
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_tokens_facts(run: Run, issuer: OidcIssuer) -> None:
    """Who, for what and how long; never the token."""
    issuer.token_lifetime = 90
    done = run("token", "billing")
    assert done.exit_code == 0, done.output
    for text in (issuer.issuer_url, "of 1 min 30 s", "RS256", "rabbitmq", "characters"):
        assert text in done.stdout
    assert "eyJ" not in done.output
    found = facts(run("token", "billing", "--json"))
    assert found["provider"] == "oauth2"
    assert found["issuer"] == issuer.issuer_url
    assert found["scopes"] == issuer.scopes
    assert found["lifetime"] == 90
    assert 60 < found["time_left"] <= 90
    assert found["size"] > 400
    assert found["notes"] == []


def test_the_token_itself_is_asked_for_in_so_many_words(run: Run) -> None:
    """With --raw the token is all that is printed."""
    done = run("token", "billing", "--raw")
    assert done.stdout.startswith("eyJ")
    assert done.stdout.count(".") == 2
    assert len(done.stdout.split()) == 1


def test_a_token_that_is_the_user_name_is_not_shown(run: Run, issuer: OidcIssuer) -> None:
    """Brokers with the first UAA plugin take the token as user name; it stays a secret there."""
    for form in ((), ("--json",)):
        done = run("token", "billing", "-o", "token_as=username", *form)
        assert done.exit_code == 0, done.output
        assert "hidden: " in done.stdout
        assert "eyJ" not in done.output


def test_the_only_entry_needs_no_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one entry is configured it is meant; where none is, those that could be are named."""
    assert facts(run("token", "--json"))["provider"] == "oauth2"
    monkeypatch.delenv("MQAUTH_CONFIG")
    done = run("token")
    assert done.exit_code == 2
    assert "aws-iam" in done.stderr


def test_options_of_the_command_line(run: Run, issuer: OidcIssuer) -> None:
    """An option wins over the entry's, and a wrong one is named with the nearest."""
    wanted = issuer.scopes[0]
    found = facts(run("token", "billing", "--option", f"scope={wanted}", "--json"))
    assert found["scopes"] == [wanted]
    done = run("token", "billing", "-o", "scop=x")
    assert (done.exit_code, "did you mean scope?" in done.stderr) == (2, True)
    assert run("token", "billing", "-o", "nonsense").exit_code == 2


def test_no_secret_on_the_command_line(run: Run) -> None:
    """Everybody on a host can read its command lines, so a secret there is refused."""
    for name in ("billing", "oauth2"):
        done = run("token", name, "--option", "client_secret=canary")
        assert done.exit_code == 2
        assert "client_secret_file=PATH" in done.stderr
        assert "canary" not in done.output


def test_a_password_has_facts_too(run: Run, tmp_path: Path) -> None:
    """What is no JWT is opaque, and may never end."""
    file = tmp_path / "password"
    file.write_text("canary-of-static\n")
    options = ("-o", "username=me", "-o", f"password_file={file}")
    done = run("token", "static", *options)
    assert "it never expires" in done.stdout
    assert "canary" not in done.stdout
    found = facts(run("token", "static", *options, "--json"))
    assert (found["kind"], found["username"], found["time_left"]) == ("opaque", "me", None)


def test_a_certificate_is_no_token(run: Run, certificates: CertificateFiles) -> None:
    """A client certificate has a life and no token; nothing stands in for one."""
    files = {
        "certificate_file": certificates.certificate_file,
        "private_key_file": certificates.key_file,
    }
    options = [word for name, file in files.items() for word in ("-o", f"{name}={file}")]
    found = facts(run("token", "external", *options, "--json"))
    assert (found["kind"], found["size"]) == ("certificate", None)
    assert found["time_left"] > 0
    done = run("token", "external", *options, "--raw")
    assert (done.exit_code, "no token to print" in done.stderr) == (2, True)


def test_a_long_token_is_warned_about(run: Run, issuer: OidcIssuer) -> None:
    """RabbitMQ resets a connection whose token does not fit its first frame, without a word."""
    issuer.scopes = [f"rabbitmq.read:{'v' * 40}{number}/*" for number in range(60)]
    (note,) = facts(run("token", "billing", "--json"))["notes"]
    assert note.startswith("too long for RabbitMQ before 4.1")


def test_an_aws_token(
    run: Run, sts: StsEndpoint, certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker's host tells the region, as it does for Celery."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", sts.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", sts.secret_access_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca_file))
    host = f"b-1.mq.{sts.region}.on.aws"
    found = facts(run("token", "aws-iam", "--host", host, "--json"))
    assert (found["subject"], found["algorithm"]) == (sts.user_arn, "ES384")
    sts.federation_enabled = False
    done = run("token", "aws-iam", "--host", host)
    assert done.exit_code == 3
    assert "aws iam enable-outbound-web-identity-federation" in done.stderr


def test_exit_codes(run: Run, issuer: OidcIssuer) -> None:
    """What ends a command decides its code: configuration, refusal, or an issuer that is down."""
    assert run("token", "nobody").exit_code == 2
    assert run("token", "billing", "-o", "client_id=stranger").exit_code == 3
    with issuer.faults.during("error500"):
        assert run("token", "billing").exit_code == 4


def test_a_failure_as_json(run: Run) -> None:
    """Who asked for JSON gets JSON, and the line for people beside it."""
    done = run("token", "nobody", "--json")
    told = json.loads(done.stdout)
    assert {name: told[name] for name in ("ok", "exit_code")} == {"ok": False, "exit_code": 2}
    assert done.exit_code == 2
    assert f"Error: {told['error']} ({told['remedy']})" == done.stderr.strip()
    assert run("token", "nobody").stdout == ""
    late = run("explain", "-s", "read:*/*", "--broker-version", "9.9", "--json")
    assert json.loads(late.stdout)["exit_code"] == late.exit_code == 2


def test_an_error_is_the_only_line(run: Run) -> None:
    """What the log says of a failure is said by the error; --verbose shows it none the less."""
    del run  # sets the environment
    words = ("token", "billing", "-o", "token_endpoint=http://127.0.0.1:1/token")
    done = process(*words)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    (refused,) = process("token", "billing", "-o", "client_id=stranger").stderr.splitlines()
    assert refused.startswith("Error: ")
    told = process("--verbose", *words).stderr
    assert "Warning: oauth2 client" in told
    assert "renewal failed" in told
    assert told.splitlines()[-1] == done.stderr.strip()
    warning, error = process(*words, MQAUTH_OAUTH2_SCOP="x").stderr.splitlines()
    assert warning.startswith("Warning: The environment variable MQAUTH_OAUTH2_SCOP")
    assert error == done.stderr.strip()


@pytest.mark.parametrize("package", ["mqauth", "celery_mqauth", "django_mqauth"])
def test_the_log_of_each_package_is_shown(
    package: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """By the same rules, with nothing in it that a terminal acts on, tracebacks included."""
    log = logging.getLogger(f"{package}.somewhere")
    caplog.set_level("WARNING")
    with log_lines(verbose=False, debug=False):
        log.info("hidden")
        log.warning("said \x1b[2J")
    assert capsys.readouterr().err == "Warning: said \\x1b[2J\n"
    with log_lines(verbose=True, debug=False):
        log.info("shown", exc_info=ValueError("\x1b[2J\nError: forged"))
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "Info: shown"
    assert lines[-2:] == ["  ValueError: \\x1b[2J", "  Error: forged"]
    assert all(line.startswith("  ") for line in lines)


def test_debug_shows_the_traceback(run: Run) -> None:
    """With --debug the exception itself comes out."""
    done = run("--debug", "token", "nobody")
    assert type(done.exception).__name__ == "UnknownProviderError"


def test_providers(run: Run) -> None:
    """All that are installed are listed, each with its options, defaults and variables."""
    done = run("providers")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in provider_names())
    done = run("providers", "aws-iam")
    assert "MQAUTH_AWS_IAM_DURATION" in done.stdout
    found = json.loads(run("providers", "--json").stdout)
    assert [provider["name"] for provider in found] == list(provider_names())
    (aws,) = [provider for provider in found if provider["name"] == "aws-iam"]
    options = {option["name"]: option for option in aws["options"]}
    assert options["duration"]["default"] == 300
    assert run("providers", "nobody").exit_code == 2


def test_a_provider_without_its_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lacks its libraries says which extra to install, and the others are listed."""
    monkeypatch.setitem(sys.modules, "mqauth.providers.oauth2", None)
    found = {each["name"]: each for each in json.loads(run("providers", "--json").stdout)}
    assert found["oauth2"]["problem"]
    assert not found["static"]["problem"]


def all_commands() -> list[tuple[str, click.Command]]:
    """Return all subcommands with the words that lead to them."""
    context = click.Context(cli)
    found: list[tuple[str, click.Command]] = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", each) for sub, each in command.commands.items()]
    return found


@pytest.mark.parametrize(("words", "command"), all_commands(), ids=lambda value: str(value)[:30])
def test_help(run: Run, words: str, command: click.Command) -> None:
    """Each command explains itself, with examples that it takes."""
    done = run(*words.split(), "--help")
    assert done.exit_code == 0
    if isinstance(command, click.Group):
        return
    assert "Examples:\n" in done.stdout
    examples = [
        line.split("mqauth ", 1)[1] for line in done.stdout.splitlines() if "  mqauth " in line
    ]
    assert examples
    for example in examples:
        (*arguments,) = shlex.split(example.partition(" | ")[0].partition(" > ")[0])
        assert arguments[: len(words.split())] == words.split()
        command.make_context(words, arguments[len(words.split()) :])


def test_a_subcommand_is_one_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A module in the folder of commands is all that a new subcommand needs."""
    (tmp_path / "greet.py").write_text(
        "import click\n\n@click.command\ndef command():\n    click.echo('hello')\n"
    )
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    assert isinstance(cli, Commands)
    assert run("greet").stdout == "hello\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run: Run, shell: str) -> None:
    """The printed script asks the command itself what could come next."""
    assert "_MQAUTH_COMPLETE" in run("completion", shell).stdout


def process(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m mqauth` as a process."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "mqauth", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def test_names_are_completed() -> None:
    """A shell that asks gets providers and named entries."""
    words = {"COMP_WORDS": "mqauth token a", "COMP_CWORD": "2"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("mqauth"))],
        env={**os.environ, "_MQAUTH_COMPLETE": "bash_complete", **words},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert "plain,aws-iam" in done.stdout.splitlines()


def test_as_a_module() -> None:
    """`python -m mqauth` is the same command, and plain where there is no terminal."""
    done = process("providers")
    assert done.returncode == 0, done.stderr
    assert "aws-iam" in done.stdout
    assert "\x1b" not in done.stdout


def test_colour_on_a_terminal() -> None:
    """On a terminal a report has colour or bold, unless NO_COLOR asks for none."""
    assert "\x1b[1m" in on_a_terminal("providers")
    assert "\x1b" not in on_a_terminal("providers", NO_COLOR="1")


def on_a_terminal(*arguments: str, **variables: str) -> str:
    """Run the command on a terminal of its own and return what shows there."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "mqauth", *arguments],
            env={**os.environ, **variables},
            stdout=theirs,
            timeout=LIMIT,
            check=True,
        )
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_without_click() -> None:
    """Where click is missing, one line says what to install; the core does not need it."""
    program = "import sys; sys.modules['click'] = None; import mqauth.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 1
    assert done.stderr == 'Error: click is not installed (pip install "mqauth[cli]")\n'


def test_ctrl_c(run: Run, issuer: OidcIssuer) -> None:
    """Ctrl-C ends the command with a word and the code that shells expect."""
    with issuer.faults.during("hang", affects="tokens"):
        running = subprocess.Popen(
            [sys.executable, "-m", "mqauth", "token", "billing"],
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert issuer.wait_for_requests(1, LIMIT)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=LIMIT)
    assert running.returncode == 130
    assert said.strip() == "interrupted"


def test_the_console_script_is_declared() -> None:
    """The distribution brings the command and the extra that it needs."""
    project = tomllib.loads(
        (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    )["project"]
    assert project["scripts"] == {"mqauth": "mqauth.cli:main"}
    assert any(need.startswith("click") for need in project["optional-dependencies"]["cli"])
