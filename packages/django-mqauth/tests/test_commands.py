"""`manage.py mqauth_...`: reports for people and programs, and exit codes for probes."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from celery import Celery
from click.testing import CliRunner
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from kombu import Connection

from celery_mqauth.scopes_command import scopes
from choir import Choir, answer
from django_mqauth import broker_url, broker_use_ssl
from django_mqauth.management.commands import mqauth_scopes
from django_mqauth.workers import asking, memory
from mqauth.diagnosis.findings import EXIT_CODES
from mqauth.errors import InvalidCredentialError
from mqauth_sandbox import Sandbox

LIMIT = 20.0


def run(*arguments: str) -> tuple[int, str]:
    """Run a command; return what it ends with and what it prints."""
    output = io.StringIO()
    try:
        call_command(*arguments, "--no-color", stdout=output, stderr=output)
    except CommandError as error:
        output.write(str(error))
        return error.returncode, output.getvalue()
    except SystemExit as ended:
        return int(ended.code or 0), output.getvalue()
    return 0, output.getvalue()


def test_token_tells_facts(site: Sandbox) -> None:
    """`mqauth_token` tells whose the credential is and for how long, and does not show it."""
    code, text = run("mqauth_token")
    assert code == 0
    for line in ("provider", "oauth2 client celery of", "subject", "time left", "scopes"):
        assert line in text
    assert "eyJ" not in text


def test_token_as_json(site: Sandbox) -> None:
    """`mqauth_token --json` is one JSON object without the token."""
    code, text = run("mqauth_token", "default", "--json", "--fresh")
    facts = json.loads(text)
    assert code == 0
    assert facts["kind"] == "JWT"
    assert 0 < facts["time_left"] <= site.issuer.token_lifetime
    assert "eyJ" not in text


def test_token_on_purpose(site: Sandbox) -> None:
    """`mqauth_token --raw` prints the token and nothing else."""
    code, text = run("mqauth_token", "--raw")
    assert code == 0
    assert text.startswith("eyJ")
    assert len(text.splitlines()) == 1


def test_doctor_goes_to_the_broker(site: Sandbox) -> None:
    """`mqauth_doctor` walks from the options to the broker and what is done there."""
    code, text = run("mqauth_doctor")
    assert code == 0
    assert [line.split()[:2] for line in text.splitlines()] == [
        ["ok", f"{link}:"] for link in EXIT_CODES
    ]


def test_doctor_tries_what_the_app_does(site: Sandbox, use: Callable[..., None]) -> None:
    """Where Celery signs in as the alias, what its workers do is tried, for that alias alone."""
    app = Celery("site", broker=broker_url(), broker_use_ssl=broker_use_ssl())
    use(MQAUTH={**settings.MQAUTH, "other": settings.MQAUTH["default"]}, MQAUTH_CELERY_APP=app)
    said = {name: run("mqauth_doctor", name) for name in ("default", "other")}
    assert [code for code, _ in said.values()] == [0, 0]
    assert re.search(r"ok {6}operations: \d+ permitted", said["default"][1])
    assert "operations: none were named" in said["other"][1]


def test_doctor_names_what_the_app_may_not_do(
    site: Sandbox, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operation that the token does not permit breaks the chain, with the scope it takes."""
    monkeypatch.setattr(site.issuer, "scopes", ["rabbitmq.read:*/*"])
    app = Celery("site", broker=broker_url(), broker_use_ssl=broker_use_ssl())
    use(MQAUTH_CELERY_APP=app)
    code, text = run("mqauth_doctor")
    assert code == EXIT_CODES["operations"]
    assert "failed  operations:" in text
    assert "rabbitmq.configure:%2F/celery" in text


def test_doctor_goes_to_each_broker(
    site: Sandbox, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """A second broker that is not there is a broken link; what leads to both is told once."""
    there, gone = alias(), alias(port=1)
    use(MQAUTH={"default": {**there, "BROKER": [there["BROKER"], gone["BROKER"]]}})
    code, text = run("mqauth_doctor", "--json")
    links = [link["link"] for link in json.loads(text)["links"]]
    assert code == EXIT_CODES["broker"]
    assert links == [*EXIT_CODES, "broker"]


def test_doctor_without_the_celery_app(site: Sandbox, use: Callable[..., None]) -> None:
    """A Celery app that cannot be found is told, for without it operations would go untried."""
    use(MQAUTH_CELERY_APP="nowhere.celery:app")
    code, text = run("mqauth_doctor")
    assert code == EXIT_CODES["options"]
    assert "MQAUTH_CELERY_APP leads nowhere: No module named 'nowhere'" in text


def test_doctor_without_celery(
    site: Sandbox, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Celery is not installed the chain is walked all the same."""
    monkeypatch.setattr("django_mqauth.diagnosis.has_celery", lambda: False)
    use(MQAUTH_CELERY_APP="nowhere.celery:app")
    code, text = run("mqauth_doctor")
    assert code == 0
    assert "operations: none were named" in text


def test_doctor_stops_at_the_issuer(site: Sandbox) -> None:
    """A broken link ends the report, with its remedy and its exit code."""
    with site.issuer.faults.during("error500"):
        code, text = run("mqauth_doctor", "--json")
    report = json.loads(text)
    assert code == report["exit_code"] == EXIT_CODES["issuer"]
    assert [link["status"] for link in report["links"]] == ["ok", "ok", "failed"]
    assert report["links"][-1]["remedy"]


def test_doctor_stops_at_the_broker(
    site: Sandbox, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """A broker that is not there is the broken link."""
    use(MQAUTH={"default": alias(port=1)})
    code, text = run("mqauth_doctor")
    assert code == EXIT_CODES["broker"]
    assert "failed  broker: " in text
    assert "localhost:1" in text


def test_check_is_a_probe(site: Sandbox) -> None:
    """`mqauth_check` fetches and signs in, and ends with 0."""
    code, text = run("mqauth_check")
    assert code == 0
    assert text.splitlines()[0].startswith("ok      credential default:")
    assert text.splitlines()[1].startswith("ok      login default:")


def test_check_waits_for_no_issuer(
    site: Sandbox, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """The time limit holds for the credential, too; an issuer that says nothing is an outage."""
    use(MQAUTH={"default": alias(timeout=2 * LIMIT)})
    began = time.monotonic()
    with site.issuer.faults.during("hang"):
        code, text = run("mqauth_check", "--timeout", "0.5")
    assert time.monotonic() - began < LIMIT
    site.issuer.stop()  # so that nothing hangs on to it
    assert code == 4
    assert "failed  credential default: no credential within 0.5 s (" in text


def test_check_without_login(site: Sandbox) -> None:
    """`mqauth_check --no-login` leaves the broker alone."""
    assert len(run("mqauth_check", "default", "--no-login")[1].splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client_idd": "celery"}, 2),
        ({"client_id": "stranger"}, 3),
        ({"issuer": "https://localhost:1"}, 4),
    ],
    ids=["misspelt", "refused", "not there"],
)
def test_check_says_what_kind_of_failure(
    site: Sandbox,
    use: Callable[..., None],
    alias: Callable[..., dict[str, Any]],
    changes: dict[str, str],
    code: int,
) -> None:
    """The exit code tells settings that cannot work from refusals and outages."""
    use(MQAUTH={"default": alias(**changes)})
    ended, text = run("mqauth_check", "--json")
    report = json.loads(text)
    assert ended == report["exit_code"] == code
    assert not report["ok"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"PROVIDER": "static", "OPTIONS": {"username": "joe", "password": "wrong"}}, 3),
        ({"BROKER": "amqps://localhost:{port}/nowhere"}, 3),
        ({"TRANSPORT_OPTIONS": {"auth": "oauth2"}}, 2),
    ],
    ids=["wrong password", "unknown virtual host", "options that cannot work"],
)
def test_check_tells_a_broker_that_says_no(
    site: Sandbox,
    use: Callable[..., None],
    alias: Callable[..., dict[str, Any]],
    changes: dict[str, Any],
    code: int,
) -> None:
    """A broker that refuses the login, or its virtual host, is no outage."""
    entry = {**alias(), **changes}
    entry["BROKER"] = entry["BROKER"].format(port=site.broker.amqps_port)
    use(MQAUTH={"default": entry})
    ended, text = run("mqauth_check", "--timeout=15")
    assert ended == code, text
    assert [line.split()[:2] for line in text.splitlines()] == [
        ["ok", "credential"],
        ["failed", "login"],
    ]


def test_check_of_workers_without_celery(
    use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Celery there is nobody to ask, and the remedy is told."""
    use(MQAUTH={"default": {"BROKER": "amqps://r.example.com", "PROVIDER": "token-file"}})
    monkeypatch.setitem(sys.modules, "celery", None)
    for option in ("--workers", "--expect=one@a", "--at-least=1"):
        code, text = run("mqauth_check", option)
        assert code == 2
        assert 'pip install "django-mqauth[celery]"' in text


def test_check_of_the_broker(
    site: Sandbox, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """A broker that is not there is an outage, and only one alias' affair."""
    use(MQAUTH={"default": alias(), "other": alias(port=1)})
    code, text = run("mqauth_check")
    assert code == 4
    assert [line.split()[0] for line in text.splitlines()] == ["ok", "ok", "ok", "failed"]


@pytest.mark.parametrize(
    "command",
    [
        ("mqauth_check",),
        ("mqauth_doctor",),
        ("mqauth_scopes",),
        ("mqauth_status", "--no-workers"),
        ("mqauth_token", "--raw"),
    ],
    ids=lambda words: words[0],
)
def test_failures_are_json_too(use: Callable[..., None], command: tuple[str, ...]) -> None:
    """With `--json` standard output is JSON whatever happens, and says what the exit code says."""
    use(MQAUTH=["default"], MQAUTH_CELERY_APP="nowhere.celery:app")
    output, errors = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command(*command, "--json", stdout=output, stderr=errors)
    said = json.loads(output.getvalue())
    assert ended.value.code == said["exit_code"] == 2
    assert said["ok"] is False
    told = json.dumps(said)
    wrong = "MQAUTH_CELERY_APP leads nowhere" if command == ("mqauth_scopes",) else "MQAUTH is a"
    assert wrong in told
    assert "write" in told


def test_a_refused_token_is_json_too(
    site: Sandbox, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """An issuer that refuses is told in JSON, with its own exit code."""
    use(MQAUTH={"default": alias(client_id="stranger")})
    code, text = run("mqauth_token", "--json")
    said = json.loads(text)
    assert code == said["exit_code"] == 3
    assert "invalid_client" in said["error"]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "301", "soon"])
def test_time_limits_are_limits(seconds: str) -> None:
    """No time limit is none."""
    for command in ("mqauth_check", "mqauth_doctor", "mqauth_status"):
        code, text = run(command, f"--timeout={seconds}")
        assert code != 0
        assert f"{seconds!r} is no number of seconds above 0 and up to 300" in text


def test_scopes_are_those_of_celery(use: Callable[..., None]) -> None:
    """`mqauth_scopes` prints what `celery mqauth scopes` prints for the site's app."""
    app = Celery("site", broker="mqauths://default@rabbit.example.com/prod")
    use(MQAUTH_CELERY_APP=app)
    for words in (
        ("--role", "worker", "--role=producer", "--format", "scopes", "--prefix=x."),
        ("-r", "worker", "-f", "regex", "-n", "shop", "--without-gossip"),
        ("-f", "conf"),
        ("-f", "json"),
        ("--check", "--role", "worker", "--configure=.*", "--write=.*", "--read=^$"),
        ("-r", "worker", "-Q", "nothing"),
    ):
        there = CliRunner().invoke(scopes, list(words), obj=SimpleNamespace(app=app))
        code, text = run("mqauth_scopes", *words)
        assert code == there.exit_code
        assert text.strip() == there.output.removeprefix("Error: ").strip()
    assert json.loads(run("mqauth_scopes", "--json", "-r", "worker")[1])[0]["role"] == "worker"


def test_notes_of_scopes_are_no_errors(
    use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notes go to standard error, whatever comes of it; an error has its own exit code."""
    use(MQAUTH_CELERY_APP=Celery("site", broker="mqauths://default@rabbit.example.com/prod"))

    def ends(failure: Exception | None) -> tuple[int, str, str]:
        def main(*_: Any, **__: Any) -> int:
            click.echo("Note: something", err=True)
            if failure is not None:
                raise failure
            click.echo("worker")
            return 3

        monkeypatch.setattr(scopes, "main", main)
        output, errors = io.StringIO(), io.StringIO()
        try:
            call_command("mqauth_scopes", "--no-color", stdout=output, stderr=errors)
        except CommandError as error:
            return error.returncode, str(error), errors.getvalue()
        except SystemExit as ended:
            return int(ended.code or 0), output.getvalue(), errors.getvalue()
        raise AssertionError

    note = "Note: something\n"
    assert ends(None) == (3, "worker\n", note)
    assert ends(click.ClickException("no such thing")) == (1, "no such thing", note)
    assert ends(click.UsageError("no such option")) == (2, "no such option", note)
    assert ends(InvalidCredentialError("no token")) == (4, "no token", note)


def test_scopes_compare_with_the_present_token(site: Sandbox, use: Callable[..., None]) -> None:
    """`mqauth_scopes --check` asks for the token that the site's app signs in with."""
    app = Celery("site", broker=broker_url(), broker_use_ssl=broker_use_ssl())
    use(MQAUTH_CELERY_APP=app)
    assert run("mqauth_scopes", "--check", "--role", "worker")[1].startswith("worker: enough")


def test_scopes_without_celery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Celery one line says what to install."""
    monkeypatch.setattr(mqauth_scopes, "has_celery", lambda: False)
    code, text = run("mqauth_scopes")
    assert (code, len(text.splitlines())) == (2, 1)
    assert 'pip install "django-mqauth[celery]"' in text


@pytest.mark.parametrize("command", ["mqauth_token", "mqauth_doctor"])
def test_an_unknown_alias_is_one_line(site: Sandbox, command: str) -> None:
    """A misspelt alias is told in one line, with the right one."""
    code, text = run(command, "defualt")
    assert code == 2
    assert "did you mean default" in text


def test_settings_without_aliases(use: Callable[..., None]) -> None:
    """Without aliases the error says what to write."""
    use(MQAUTH={})
    for command in ("mqauth_check", "mqauth_status"):
        code, text = run(command)
        assert code == 2
        assert "BROKER" in text


def test_status_shows_what_the_host_shares(
    site: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`mqauth_status` asks no issuer: it shows what other processes of this host have fetched."""
    monkeypatch.setenv("MQAUTH_CACHE", str(tmp_path / "cache"))
    before = site.issuer.fetches
    assert "no process of this host has a credential" in run("mqauth_status", "--no-workers")[1]
    assert site.issuer.fetches == before
    run("mqauth_token")
    assert site.issuer.fetches == before + 1
    code, text = run("mqauth_status", "--no-workers", "--json")
    (alias,) = json.loads(text)["aliases"]
    assert code == 0
    assert 0 < alias["remaining"] <= site.issuer.token_lifetime
    assert site.issuer.fetches == before + 1


def test_workers_cannot_act_on_a_terminal(site: Sandbox, use: Callable[..., None]) -> None:
    """Whatever workers say, and were there a thousand, reports name the troubled ones and go on."""
    memory.forget()
    app = Celery("site", broker=broker_url(), broker_use_ssl=broker_use_ssl(), set_as_current=False)
    use(MQAUTH_CELERY_APP=app)
    answers: dict[str, Any] = {f"worker-{n}@host": answer() for n in range(998)}
    lost = {"last_error": "\x1b]0;title\x07", "expires_at": "2020-01-01"}
    answers |= {"odd\x1b[2J@host": "not a mapping", "lost@host": answer(source=lost)}
    memory.update(answers, set())  # so that nobody waits for others once these have answered
    broker = site.broker
    url = f"amqp://{broker.admin_user}:{broker.admin_password}@localhost:{broker.amqp_port}//"
    with Choir(url, answers, raw=[(b"\x80garbage", "application/json")]):
        code, text = run("mqauth_check", "--workers", "--no-login", "--timeout=60")
        status = run("mqauth_status", "--timeout=60")[1]
    memory.forget()
    lines = text.splitlines()
    assert code == 4
    assert sum(line.startswith("ok      worker ") for line in lines) == 998
    assert sorted(line.split()[2] for line in lines if line.startswith("failed  worker")) == [
        "any:",
        "lost@host:",
        "odd\\x1b[2J@host:",
    ]
    assert "cannot be read" in text
    assert status.count("@host: ") == 1000
    assert "\x1b" not in text + status


@pytest.fixture
def admin_url(
    site: Sandbox, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The broker by a login that does not expire, with the site's app on it and nobody seen."""
    monkeypatch.setattr(asking, "_SLACK", LIMIT)
    memory.forget()
    app = Celery("site", broker=broker_url(), broker_use_ssl=broker_use_ssl(), set_as_current=False)
    use(MQAUTH_CELERY_APP=app)
    broker = site.broker
    yield f"amqp://{broker.admin_user}:{broker.admin_password}@localhost:{broker.amqp_port}//"
    memory.forget()


def test_a_probe_misses_whom_it_expects(admin_url: str) -> None:
    """A new process has seen nobody and says so; one that is told names whom it misses."""
    asked = ("mqauth_check", "--no-login", "--timeout=5")
    with Choir(admin_url, {"one@a": answer()}):
        code, text = run(*asked, "--workers")
        assert code == 0
        assert "--expect" in text
        code, text = run(*asked, "--expect", "one@a, two@b", "--expect=three@c")
        assert code == 1
        assert "ok      worker one@a" in text
        assert "failed  worker three@c: it is not there" in text
        assert "failed  worker two@b: it is not there" in text
        assert "was seen before" not in text
        code, text = run(*asked, "--at-least=2")
        assert code == 1
        assert "failed  worker any: 1 worker answered, at least 2 should" in text
        assert run(*asked, "--at-least=1", "--expect=one@a")[0] == 0


def test_a_frozen_worker_is_missed_by_a_new_process(admin_url: str) -> None:
    """Whose control queue is there and who does not answer is told as frozen."""
    with Connection(admin_url) as connection, Choir(admin_url, {"one@a": answer()}):
        connection.default_channel.queue_declare("two@b.celery.pidbox", exclusive=True)
        code, text = run("mqauth_check", "--no-login", "--timeout=5", "--expect=one@a,two@b")
    assert code == 1
    assert "failed  worker two@b: it does not answer within 5 s" in text


@pytest.mark.parametrize("wrong", ["--expect=", "--expect=a,,b", "--at-least=0", "--at-least=x"])
def test_probes_refuse_what_means_nothing(site: Sandbox, wrong: str) -> None:
    """Who expects nobody by mistake is told."""
    code, text = run("mqauth_check", "--no-login", wrong)
    assert code != 0
    assert "workers" in text


def test_status_says_when_workers_cannot_be_asked(
    admin_url: str, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """`mqauth_status` ends with 4 where the broker or all workers gave no answer, in JSON too."""
    code, text = run("mqauth_status", "--timeout=0.5")
    assert code == 4
    assert "no worker answered" in text
    with Choir(admin_url, {"one@a": answer(source={"rotations": 1, "failures": 1})}):
        code, text = run("mqauth_status", "--timeout=5")
    assert code == 0
    assert "1 rotation, 1 failure" in text
    assert "1 rotations" not in text
    assert "1 failures" not in text
    use(MQAUTH={"default": alias(port=1)})
    settings.MQAUTH_CELERY_APP.conf.broker_url = broker_url()
    code, text = run("mqauth_status", "--timeout=0.5", "--json")
    said = json.loads(text[text.index("{") :])
    assert code == said["exit_code"] == 4
    assert said["ok"] is False
    assert "no connection to the broker" in said["problem"]


def test_status_tells_settings_that_cannot_work(
    site: Sandbox, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """`mqauth_status` ends with 2 where an alias cannot work, and tells of the others."""
    use(MQAUTH={"default": alias(), "other": alias(client_idd="celery")})
    code, text = run("mqauth_status", "--no-workers")
    assert code == 2
    assert [line.partition(":")[0] for line in text.splitlines()] == ["default", "other"]


def test_no_secret_in_any_report(site: Sandbox) -> None:
    """No report shows the client's secret or a token, but for `--raw`."""
    said = [
        run(*command)[1]
        for command in (
            ("mqauth_status", "--no-workers"),
            ("mqauth_check", "--json"),
            ("mqauth_token", "--json"),
            ("mqauth_doctor", "--json"),
        )
    ]
    assert all(site.issuer.client_secret not in text and "eyJ" not in text for text in said)
