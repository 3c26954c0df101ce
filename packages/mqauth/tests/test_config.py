"""From a name to a provider with its options, over all places that may hold them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mqauth.amazonmq import region_from_host
from mqauth.config import named_entries
from mqauth.config.registry import provider_names
from mqauth.config.resolution import register_named_entries, resolve
from mqauth.errors import ConfigurationError, UnknownProviderError
from mqauth.secret import Secret

CANARY = "canary-of-config"

Register = Callable[[Mapping[str, Mapping[str, Any]]], None]


@pytest.fixture
def register() -> Iterator[Register]:
    """Registers named entries for the time of a test."""
    undo: list[Callable[[], None]] = []
    yield lambda entries: undo.append(register_named_entries(entries))
    for unregister in undo:
        unregister()


def toml(path: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    """Write a configuration file and return the environment that names it."""
    path.write_text(text)
    path.chmod(mode)
    return {"MQAUTH_CONFIG": str(path)}


@pytest.fixture
def warned(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Mapping[str, str]], list[str]]:
    """Return what was logged of a configuration file, whatever came before in this process.

    A source of another test may still be renewing, and whoever configures logging (Django does)
    may disable the loggers that are there.
    """
    logger = logging.getLogger(named_entries.__name__)
    monkeypatch.setattr(logger, "disabled", False)
    caplog.set_level(logging.WARNING, logger.name)
    return lambda environ: [
        message for message in caplog.messages if environ["MQAUTH_CONFIG"] in message
    ]


def test_a_provider_by_its_name() -> None:
    """Without anything else, the name is the provider and the environment its options."""
    environ = {"MQAUTH_STATIC_USERNAME": "celery", "MQAUTH_STATIC_PASSWORD": CANARY}
    resolved = resolve("static", environ=environ)
    assert resolved.provider == "static"
    assert resolved.options == {"username": "celery", "password": Secret(CANARY)}
    assert resolved.settings == {}
    assert CANARY not in repr(resolved)


def test_precedence(tmp_path: Path) -> None:
    """What is passed in beats the named entry, that the environment, and that what is derived."""
    environ = toml(
        tmp_path / "c.toml",
        '[prod]\nprovider = "aws-iam"\nduration = 120\nsigning_algorithm = "RS256"\n',
    ) | {
        "MQAUTH_AWS_IAM_DURATION": "60",
        "MQAUTH_AWS_IAM_SIGNING_ALGORITHM": "ES384",
        "MQAUTH_AWS_IAM_PROFILE": "env",
    }
    derived = {"region": "eu-west-1", "profile": "derived", "username": None, "nonsense": "x"}
    resolved = resolve("prod", explicit={"duration": 90}, derived=derived, environ=environ)
    assert resolved.provider == "aws-iam"
    assert resolved.options["duration"] == 90
    assert resolved.options["signing_algorithm"] == "RS256"
    assert resolved.options["profile"] == "env"
    assert resolved.options["region"] == "eu-west-1"


def test_a_secret_file_is_not_contradicted_from_below(tmp_path: Path) -> None:
    """A secret's file passed in stands against the value in the environment."""
    file = tmp_path / "password"
    file.write_text("from the file\n")
    resolved = resolve(
        "static",
        explicit={"username": "celery", "password_file": file},
        environ={"MQAUTH_STATIC_PASSWORD": CANARY},
    )
    assert resolved.options["password"].reveal() == "from the file"


def test_an_entry_named_like_its_provider(tmp_path: Path) -> None:
    """A table named after a provider needs no key for it."""
    environ = toml(tmp_path / "c.toml", '[static]\nusername = "a"\npassword = "b"\n')
    assert resolve("static", environ=environ).options["username"] == "a"


def test_the_options_may_name_the_provider() -> None:
    """A name that means nothing by itself is fine if the options say the provider."""
    given = {"provider": "static", "username": "a", "password": "b"}
    assert resolve("jobs", explicit=given, environ={}).provider == "static"


def test_an_unknown_name_lists_everything(tmp_path: Path) -> None:
    """A name that is nothing is answered with providers, named entries and the nearest of both."""
    environ = toml(tmp_path / "c.toml", '[billing]\nprovider = "static"\n')
    with pytest.raises(UnknownProviderError, match=r"did you mean billing\?") as caught:
        resolve("biling", environ=environ)
    assert f"known providers: {', '.join(provider_names())}" in str(caught.value)
    assert "named entries: billing" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "explicit"),
    [("static", {"provider": "oauth2"}), ("prod", {"provider": "oauth2"})],
)
def test_contradicting_providers_are_refused(
    register: Register, name: str, explicit: dict[str, Any]
) -> None:
    """Two places that name different providers are an error, not a choice."""
    register({"prod": {"provider": "static"}})
    with pytest.raises(ConfigurationError, match="oauth2 or static"):
        resolve(name, explicit=explicit, environ={})


def test_an_entry_without_a_provider(register: Register) -> None:
    """An entry that does not say its provider is told so."""
    register({"prod": {"username": "a"}})
    with pytest.raises(ConfigurationError, match="add provider = "):
        resolve("prod", environ={})


def test_registered_entries_win_over_the_file(register: Register, tmp_path: Path) -> None:
    """A framework's setting is nearer to the program than the host's file."""
    environ = toml(tmp_path / "c.toml", '[prod]\nprovider = "static"\nusername = "file"\n')
    register({"prod": {"provider": "static", "username": "framework", "password": "b"}})
    assert resolve("prod", environ=environ).options["username"] == "framework"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that installs a distribution with named entries, made by Python code."""

    def make(code: str) -> None:
        (tmp_path / "framework_of_a_test.py").write_text(code)
        metadata = tmp_path / "framework_of_a_test-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Name: framework-of-a-test\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(
            f"[{named_entries.GROUP}]\nits-name = framework_of_a_test:entries\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        named_entries._installed.cache_clear()

    yield make
    monkeypatch.undo()
    named_entries._installed.cache_clear()
    sys.modules.pop("framework_of_a_test", None)


def test_installed_frameworks_offer_entries(
    install: Callable[[str], None], register: Register
) -> None:
    """An installed framework's entries are known by installation; what is registered wins."""
    install(
        "def entries():\n"
        "    entry = {'provider': 'static', 'username': 'framework', 'password': 'p'}\n"
        "    return {'its-entry': entry, 'both': entry}\n"
    )
    register({"both": {"provider": "static", "username": "registered", "password": "p"}})
    assert resolve("its-entry", environ={}).options["username"] == "framework"
    assert resolve("both", environ={}).options["username"] == "registered"


def test_a_broken_framework_harms_nobody(
    install: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A framework that cannot be imported is told in the log, and the others go on."""
    install("raise RuntimeError('broken')")
    resolve("static", explicit={"username": "u", "password": "p"}, environ={})
    assert "named entries of framework_of_a_test:entries cannot be read" in caplog.text


def test_registered_entries_may_be_looked_up_late() -> None:
    """A callable is asked at every resolution, and no more once it is unregistered."""
    entries: dict[str, dict[str, str]] = {}
    unregister = register_named_entries(lambda: entries)
    try:
        with pytest.raises(UnknownProviderError):
            resolve("late", environ={})
        entries["late"] = {"provider": "static", "username": "a", "password": "b"}
        assert resolve("late", environ={}).provider == "static"
    finally:
        unregister()
    with pytest.raises(UnknownProviderError):
        resolve("late", environ={})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[prod", "no TOML"),
        ('provider = "static"', "no table of options"),
        (None, "No such file"),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, text: str | None, complaint: str) -> None:
    """A configuration file that cannot be read is one error with its path."""
    path = tmp_path / "c.toml"
    environ = toml(path, text) if text is not None else {"MQAUTH_CONFIG": str(path)}
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        resolve("static", environ=environ)
    assert str(path) in str(caught.value) or "provider" in str(caught.value)


def test_a_readable_secret_is_warned_of_once(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    warned: Callable[[Mapping[str, str]], list[str]],
) -> None:
    """A secret in a file that everybody may read is announced with the remedy, and not shown."""
    text = f'[prod]\nprovider = "static"\nusername = "a"\npassword = "{CANARY}"\n'
    environ = toml(tmp_path / "c.toml", text, mode=0o644)
    resolve("prod", environ=environ)
    resolve("prod", environ=environ)
    (warning,) = warned(environ)
    assert "chmod 600" in warning
    assert "password_file" in warning
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    ("mode", "secret"), [(0o600, "password"), (0o640, "password"), (0o644, "password_file")]
)
def test_no_warning_without_need(
    tmp_path: Path, warned: Callable[[Mapping[str, str]], list[str]], mode: int, secret: str
) -> None:
    """A private file, one of a group's, or one that only names a file is nothing to warn of."""
    (tmp_path / "secret").write_text("x")
    text = f'[prod]\nprovider = "static"\nusername = "a"\n{secret} = "{tmp_path / "secret"}"\n'
    environ = toml(tmp_path / "c.toml", text, mode=mode)
    resolve("prod", environ=environ)
    assert warned(environ) == []


def test_settings_are_kept_apart(tmp_path: Path) -> None:
    """What is about rotation and sharing is no option of the provider, wherever it is written."""
    text = (
        '[prod]\nprovider = "static"\nusername = "a"\npassword = "b"\ncache = false\ntimeout = 7\n'
    )
    environ = toml(tmp_path / "c.toml", text) | {
        "MQAUTH_CACHE": "/run/cache",
        "MQAUTH_INSECURE": "yes",
        "MQAUTH_RENEW_AT": "0.5",
    }
    resolved = resolve("prod", explicit={"timeout": 3}, environ=environ)
    assert resolved.settings == {"cache": False, "insecure": True, "renew_at": 0.5, "timeout": 3.0}
    assert set(resolved.options) == {"username", "password"}


@pytest.mark.parametrize(
    ("text", "value"), [("off", False), ("1", True), ("/run/cache", "/run/cache")]
)
def test_the_cache_is_a_switch_or_a_directory(text: str, value: bool | str) -> None:  # noqa: FBT001
    """MQAUTH_CACHE turns sharing off or says where."""
    environ = {"MQAUTH_STATIC_USERNAME": "a", "MQAUTH_STATIC_PASSWORD": "b", "MQAUTH_CACHE": text}
    assert resolve("static", environ=environ).settings == {"cache": value}


@pytest.mark.parametrize(
    "settings",
    [
        {"renew_at": 0},
        {"renew_at": "1"},
        {"timeout": -1},
        {"timeout": "soon"},
        {"insecure": "perhaps"},
        {"cache": ""},
        {"cache": 7},
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any]) -> None:
    """A setting out of range is refused by name, with its environment variable."""
    (name,) = settings
    with pytest.raises(ConfigurationError, match=f"{name}.*MQAUTH_{name.upper()}"):
        resolve("static", explicit=settings, environ={})


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("b-1234.mq.eu-west-1.on.aws", "eu-west-1"),
        ("B-1234.MQ.eu-west-1.on.aws.", "eu-west-1"),
        ("b-12-34-1.mq.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("b-1.mq.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
        ("b-1.mq.eu-west-1.on.aws.example.com", None),
        ("b-1.mq.eu-west-1.example.com", None),
        ("b-1.sqs.eu-west-1.amazonaws.com", None),
        ("mq.eu-west-1.on.aws", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_the_host_of_an_amazon_mq_broker_tells_its_region(host: str, region: str | None) -> None:
    """Only Amazon MQ's own names count."""
    assert region_from_host(host) == region
