"""Options of providers: merged, checked and typed."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from mqauth.config.options import environment_name, from_environment, merge, validate
from mqauth.config.small_file import MAX_BYTES
from mqauth.credentials import BrokerCredentials
from mqauth.errors import ConfigurationError
from mqauth.provider import Option
from mqauth.secret import Secret

CANARY = "canary-of-options"


class Sample:
    """A provider with an option of every kind."""

    name: ClassVar[str] = "sample-idp"
    options: ClassVar[tuple[Option, ...]] = (
        Option(name="client_id", required=True, help="who asks"),
        Option(name="client_secret", required=True, secret=True, help="the proof of it"),
        Option(name="duration", default=300, help="seconds"),
        Option(name="ratio", default=0.5, help="a fraction"),
        Option(name="strict", default=False, help="whether to be strict"),
        Option(name="audience", default=("rabbitmq",), help="for whom"),
        Option(name="tags", default={}, help="claims"),
        Option(name="region", help="where"),
        Option(name="policy", several_lines=True, help="what it may do"),
    )
    shareable: ClassVar[bool] = True

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build nothing of interest."""
        return cls()

    @property
    def identity(self) -> str:
        """Nobody."""
        return "sample"

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Never called."""
        raise NotImplementedError


def checked(**options: object) -> dict[str, Any]:
    """Validate with what is required filled in."""
    return validate(Sample, {"client_id": "me", "client_secret": CANARY, **options})


def test_defaults_fill_what_is_not_given() -> None:
    """Every declared option is in the result, with its default where nothing was given."""
    assert checked(region=None) == {
        "client_id": "me",
        "client_secret": Secret(CANARY),
        "duration": 300,
        "ratio": 0.5,
        "strict": False,
        "audience": ("rabbitmq",),
        "tags": {},
        "region": None,
        "policy": None,
    }


@pytest.mark.parametrize(
    ("option", "written", "typed"),
    [
        ("duration", "60", 60),
        ("duration", " 60 ", 60),
        ("duration", 60, 60),
        ("ratio", "0.75", 0.75),
        ("ratio", 1, 1.0),
        ("strict", "yes", True),
        ("strict", "OFF", False),
        ("strict", True, True),
        ("audience", "a, b,,c", ("a", "b", "c")),
        ("audience", ["a", "b"], ("a", "b")),
        ("tags", "team=jobs, scope=a=b", {"team": "jobs", "scope": "a=b"}),
        ("tags", {"team": "jobs"}, {"team": "jobs"}),
        ("region", " eu-west-1 ", "eu-west-1"),
        ("region", Path("/x"), "/x"),
    ],
)
def test_text_becomes_the_type_of_the_default(option: str, written: object, typed: object) -> None:
    """What an environment variable can spell becomes what the provider expects."""
    value = checked(**{option: written})[option]
    assert value == typed
    assert type(value) is type(typed)


@pytest.mark.parametrize(
    ("option", "written"),
    [
        ("duration", "5m"),
        ("duration", 2.5),
        ("duration", True),
        ("duration", "9" * 30),
        ("ratio", "nan"),
        ("ratio", "much"),
        ("ratio", float("inf")),
        ("ratio", False),
        ("strict", "perhaps"),
        ("strict", 1),
        ("audience", 7),
        ("audience", ["a", 7]),
        ("tags", "team"),
        ("tags", {"team": 7}),
        ("region", 7),
        ("client_secret", 7),
    ],
)
def test_a_wrong_type_is_named_without_its_value(option: str, written: object) -> None:
    """A value of the wrong type is refused by its option's name and variable, and not quoted."""
    with pytest.raises(ConfigurationError, match=option) as caught:
        checked(**{option: written})
    assert environment_name("sample-idp", option) in str(caught.value)
    assert repr(written) not in str(caught.value)


@pytest.mark.parametrize("secret", ["CANARY\ud800", "CANARY\udce4ss", Secret("CANARY\udce4ss")])
def test_a_secret_that_is_no_text_is_refused_without_its_value(secret: object) -> None:
    """A byte that is no UTF-8, or half of a surrogate pair: no error quotes it."""
    with pytest.raises(ConfigurationError, match="client_secret") as caught:
        checked(client_secret=secret)
    assert caught.value.__context__ is None
    assert "MQAUTH_SAMPLE_IDP_CLIENT_SECRET" in str(caught.value)
    assert "CANARY" not in repr(caught.value)


@pytest.mark.parametrize(
    ("option", "written"),
    [
        ("region", "a\nb"),
        ("region", "a\x1b[2Jb"),
        ("region", "a\u2028b"),
        ("audience", ["a", "b\rc"]),
        ("tags", {"team": "a\nb"}),
        ("tags", {"te\nam": "a"}),
    ],
)
def test_line_breaks_are_refused_where_they_would_break_a_log(option: str, written: object) -> None:
    """What stands in identities, and so in logs and on terminals, is one line."""
    with pytest.raises(ConfigurationError, match=f"{option} .*must not hold line breaks"):
        checked(**{option: written})


def test_an_option_may_have_several_lines_where_it_says_so() -> None:
    """A policy is JSON in several lines; tabs and line breaks at the ends do no harm."""
    options = checked(policy='{\n"a": 1\n}', region="a\tb\n")
    assert options["policy"] == '{\n"a": 1\n}'
    assert options["region"] == "a\tb"


def test_an_unknown_option_names_the_nearest() -> None:
    """A mistyped option is answered with the nearest known one and all others."""
    with pytest.raises(ConfigurationError, match=r"clientid - did you mean client_id\?") as caught:
        checked(clientid="x")
    assert "client_secret_file" in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"client_id": ""}, {"client_id": None}])
def test_a_missing_option_is_explained(given: dict[str, Any]) -> None:
    """A required option that is absent or empty is named with its meaning and its variable."""
    with pytest.raises(ConfigurationError, match="client_id: who asks") as caught:
        validate(Sample, {"client_secret": CANARY, **given})
    assert "MQAUTH_SAMPLE_IDP_CLIENT_ID" in str(caught.value)


def test_a_missing_secret_names_both_ways_to_give_it() -> None:
    """A missing secret is answered with its variable and that of its file."""
    with pytest.raises(ConfigurationError, match="MQAUTH_SAMPLE_IDP_CLIENT_SECRET_FILE"):
        validate(Sample, {"client_id": "me"})


def test_secrets_are_wrapped() -> None:
    """A secret shows neither in the result's repr nor after a second validation."""
    once = checked()
    twice = validate(Sample, once)
    assert once == twice
    assert twice["client_secret"].reveal() == CANARY
    assert CANARY not in repr(twice)


def test_a_secret_file_is_read_anew_each_time(tmp_path: Path) -> None:
    """A rotated file counts without rebuilding anything, and its last line break does not."""
    file = tmp_path / "secret"
    file.write_text("first\n")
    secret = validate(Sample, {"client_id": "me", "client_secret_file": file})["client_secret"]
    assert secret.reveal() == "first"
    file.write_text(" second \r\n")
    assert secret.reveal() == " second "
    assert "second" not in f"{secret!r} {secret}"


def test_a_secret_given_twice_is_contradictory(tmp_path: Path) -> None:
    """Value and file at once are refused."""
    with pytest.raises(ConfigurationError, match="both client_secret and client_secret_file"):
        checked(client_secret_file=str(tmp_path / "secret"))


@pytest.mark.parametrize("kind", ["missing", "empty", "directory", "pipe", "large", "binary"])
def test_an_unusable_secret_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """A file that cannot hold a secret is an error that names it, and never blocks."""
    file = tmp_path / "secret"
    match kind:
        case "empty":
            file.write_text("\n")
        case "directory":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "large":
            file.write_bytes(b"x" * (MAX_BYTES + 1))
        case "binary":
            file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=str(file)):
        validate(Sample, {"client_id": "me", "client_secret_file": str(file)})


def test_the_environment_gives_options() -> None:
    """Variables are named after provider and option; empty ones count as unset."""
    environ = {
        "MQAUTH_SAMPLE_IDP_CLIENT_ID": "me",
        "MQAUTH_SAMPLE_IDP_CLIENT_SECRET_FILE": "/run/secret",
        "MQAUTH_SAMPLE_IDP_REGION": "",
        "MQAUTH_OTHER_CLIENT_ID": "you",
    }
    assert from_environment(Sample, environ) == {
        "client_id": "me",
        "client_secret_file": "/run/secret",
    }


def test_a_variable_that_sets_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A mistyped variable is announced with the nearest, and its value is not."""
    with caplog.at_level(logging.WARNING, "mqauth"):
        assert from_environment(Sample, {"MQAUTH_SAMPLE_IDP_CLIENTID": CANARY}) == {}
    assert "MQAUTH_SAMPLE_IDP_CLIENTID" in caplog.text
    assert "MQAUTH_SAMPLE_IDP_CLIENT_ID" in caplog.text
    assert CANARY not in caplog.text


def test_the_first_layer_wins_however_it_spells_an_option() -> None:
    """A file in a higher layer does not contradict a value in a lower one."""
    merged = merge(
        Sample,
        [
            {"client_secret_file": "/run/secret", "region": None},
            {"client_secret": CANARY, "region": "eu-west-1"},
            {"region": "us-east-1", "duration": 60},
        ],
    )
    assert merged == {"client_secret_file": "/run/secret", "region": "eu-west-1", "duration": 60}


def test_a_contradiction_within_one_layer_survives_merging() -> None:
    """Value and file in the same place stay contradictory."""
    both = {"client_secret_file": "/run/secret", "client_secret": CANARY}
    assert merge(Sample, [both, {}]) == both
