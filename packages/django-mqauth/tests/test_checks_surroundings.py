"""System checks look at what settings lead to: files, the environment, Celery and its app."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from check_settings import CA, CANARY, alias, celery, check, options


def test_one_file_of_two_is_blamed(use: Callable[..., None], tmp_path: Path) -> None:
    """A key that cannot be read is told of the key, and not of the certificate beside it."""
    use(**alias(TLS={"certfile": CA, "keyfile": str(tmp_path / "key.pem")}))
    said = check()
    assert said.count("(mqauth.E012)") == 1
    assert "['keyfile'] names" in said


@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
@pytest.mark.parametrize(
    ("option", "identifier"),
    {"ca_certs": "E012", "certfile": "E012", "keyfile": "E012", "ca_file": "E016"}.items(),
)
def test_what_is_no_file_is_told(
    use: Callable[..., None], tmp_path: Path, kind: str, option: str, identifier: str
) -> None:
    """Nobody waits for what a pipe or a device might have to say."""
    path = {"pipe": tmp_path / "pipe", "device": Path("/dev/zero"), "directory": tmp_path}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    tls = {"certfile": CA, option: str(path)} if option == "keyfile" else {option: str(path)}
    use(**(options(ca_file=str(path)) if option == "ca_file" else alias(TLS=tls)))
    said = check()
    assert f"(mqauth.{identifier})" in said
    assert "it is not a regular file" in said


def test_celerys_url_in_the_environment_is_one(
    use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Celery takes from the environment is judged as its settings are, and not shown."""
    use(**alias())
    monkeypatch.setenv("CELERY_BROKER_URL", f"u:{CANARY}@h")
    said = check()
    assert "CELERY_BROKER_URL of the environment is no URL" in said
    assert CANARY not in said


def test_one_mistake_of_a_url_is_told_once(use: Callable[..., None]) -> None:
    """A slash that is missing makes no password out of an alias."""
    for url in ("mqauths:/default@h/", "mqaths:/default@h/"):
        use(**celery(BROKER_URL=url))
        said = check()
        assert said.count("(mqauth.") == said.count("(mqauth.E033)") == 1, said


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (f"raise RuntimeError({CANARY!r})", "the module broken_app, which fails with RuntimeError"),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("from os import nothing", "the module broken_app, which fails with ImportError"),
        ("", "leads nowhere: there is no app in broken_app"),
    ],
)
def test_an_app_that_fails_is_named(
    use: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    source: str,
    told: str,
) -> None:
    """What the module of Celery's app raises is told by its class, and ends no check."""
    (tmp_path / "broken_app.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_app", raising=False)
    use(**alias(), MQAUTH_CELERY_APP="broken_app:app")
    said = check()
    assert "(mqauth.E030)" in said
    assert told in said
    assert CANARY not in said


def test_the_environment_wins_over_celerys_setting(
    use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that leads Celery elsewhere is told."""
    use(**celery(BROKER_URL="mqauths://default@r.example.com/"))
    monkeypatch.setenv("CELERY_BROKER_URL", "mqauths://default@other.example.com/")
    assert "mqauth.W008" in check()


def test_celery_missing(use: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL of ours without celery-mqauth says what to install."""
    monkeypatch.setattr("django_mqauth.checks.celery.has_celery", lambda: False)
    use(**celery(BROKER_URL="mqauths://default@r.example.com/"))
    assert "mqauth.E017" in check()
    assert 'pip install "django-mqauth[celery]"' in check()


def test_a_secret_in_the_environment_is_none_in_the_settings(
    use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the hint of a warning says to do ends the warning."""
    use(**options(client_secret=CANARY))
    assert "(mqauth.W005)" in check()
    use(**options(client_secret=None))
    monkeypatch.setenv("DJANGO_MQAUTH_DEFAULT_OPTIONS_CLIENT_SECRET", CANARY)
    assert check() == "System check identified no issues (0 silenced).\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [("TIMEOUT", "soon"), ("RENEW_AT", "5"), ("CACHE", __file__), ("INSECURE", "maybe")],
)
def test_settings_in_the_environment_are_checked(
    use: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A setting of the source that the environment says wrong has the id that the README names."""
    use(**alias())
    monkeypatch.setenv(f"MQAUTH_{name}", value)
    said = check()
    assert said.count("(mqauth.") == said.count("(mqauth.E015)") == 1, said


@pytest.mark.parametrize("name", ["MQAUTHS", "MQ_AUTH"])
def test_a_misspelt_name_of_all_is_told(use: Callable[..., None], name: str) -> None:
    """Aliases under another name than `MQAUTH` are known to nobody."""
    use(**{name: alias()["MQAUTH"]})
    with override_settings():
        if hasattr(settings, "MQAUTH"):
            del settings.MQAUTH
        assert f"(mqauth.W002) There is no setting {name} - did you mean MQAUTH?" in check()


@pytest.mark.parametrize("given", [f"amqps://u:{CANARY}@h", {"default": f"amqps://u:{CANARY}@h"}])
def test_kinds_are_those_that_were_written(use: Callable[..., None], given: Any) -> None:
    """What hides a password is no kind that anybody wrote."""
    use(MQAUTH=given)
    assert " is a str." in check()


def test_environment_is_considered(
    use: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the environment gives need not stand in the settings."""
    secret = tmp_path / "secret"
    secret.write_text(CANARY)
    use(MQAUTH={"default": {}})
    assert "mqauth.E006" in check()
    monkeypatch.setenv("DJANGO_MQAUTH_DEFAULT_BROKER", "amqps://rabbit.example.com/prod")
    monkeypatch.setenv("DJANGO_MQAUTH_DEFAULT_PROVIDER", "oauth2")
    monkeypatch.setenv("DJANGO_MQAUTH_DEFAULT_OPTIONS_CLIENT_ID", "celery")
    monkeypatch.setenv("MQAUTH_OAUTH2_ISSUER", "https://login.example.com")
    monkeypatch.setenv("MQAUTH_OAUTH2_CLIENT_SECRET_FILE", str(secret))
    assert check() == "System check identified no issues (0 silenced).\n"
