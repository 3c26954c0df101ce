"""`MQAUTH`: aliases, what wins over what, URLs for Celery, and overriding it in tests."""

from __future__ import annotations

import importlib
import io
import os
import pprint
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import kombu
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives import serialization
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client, override_settings

import django_mqauth
from django_mqauth import conf
from django_mqauth.broker import UnusableURL
from django_mqauth.error_page import URLReporterFilter
from django_mqauth.kombu_connections import new_connection
from mqauth.config.resolution import resolve
from mqauth.errors import ConfigurationError
from mqauth.shared import shared_sources
from mqauth_sandbox import Sandbox
from mqauth_sandbox.tls import create_certificates

CANARY = "c4n4ry-5ecret"
STATIC = {
    "BROKER": "amqps://rabbit.example.com/prod",
    "PROVIDER": "static",
    "OPTIONS": {"username": "celery", "password": CANARY},
}
WRITTEN = repr(STATIC)
"""As it stands in a file of settings; what settings hold is wrapped where it stands."""
SETTINGS = """
import django_mqauth

SECRET_KEY = "x"
INSTALLED_APPS = ["django_mqauth"]
MQAUTH = {
    "default": {
        "BROKER": "amqps://rabbit.example.com/prod",
        "PROVIDER": "static",
        "OPTIONS": {"username": "celery", "password": "c4n4ry-5ecret"},
    }
}
CELERY_BROKER_URL = django_mqauth.broker_url()
"""


def test_a_url_names_the_alias(use: Callable[..., None]) -> None:
    """`broker_url` turns an address into a URL that says who signs in, and nothing else."""
    use(MQAUTH={"default": STATIC, "eu": {**STATIC, "BROKER": "amqp://localhost:5673/%2F"}})
    assert django_mqauth.broker_url() == "mqauths://default@rabbit.example.com/prod"
    assert django_mqauth.broker_url("eu") == "mqauth://eu@localhost:5673/%2F"


def test_failover_lists_stay_lists(use: Callable[..., None]) -> None:
    """Several brokers become a failover list of URLs."""
    use(MQAUTH={"default": {**STATIC, "BROKER": ["amqps://a.example.com", "amqps://[::1]:1/b"]}})
    assert django_mqauth.broker_url() == (
        "mqauths://default@a.example.com/;mqauths://default@[::1]:1/b"
    )


def test_celery_takes_the_tls_options(use: Callable[..., None]) -> None:
    """`broker_use_ssl` hands the alias' TLS options to Celery, if it has any."""
    use(MQAUTH={"default": {**STATIC, "TLS": {"ca_certs": "/etc/hosts"}}, "eu": STATIC})
    assert django_mqauth.broker_use_ssl() == {"ca_certs": "/etc/hosts"}
    assert django_mqauth.broker_use_ssl("eu") is None


def test_an_unknown_alias_is_told_with_the_known_ones(use: Callable[..., None]) -> None:
    """A misspelt alias is Django's own error and names the right one."""
    use(MQAUTH={"default": STATIC})
    with pytest.raises(ImproperlyConfigured, match="did you mean default"):
        django_mqauth.broker_url("defualt")


def test_the_core_knows_the_aliases(use: Callable[..., None]) -> None:
    """An alias is a named entry: what Celery's URL names, the core resolves."""
    use(MQAUTH={"default": STATIC}, MQAUTH_TIMEOUT=7)
    config = resolve("default")
    assert config.provider == "static"
    assert config.options["password"].reveal() == CANARY
    assert config.settings["timeout"] == 7


def test_what_wins(use: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """An alias' own variables win over the settings, and these over the provider's variables."""
    use(MQAUTH={"default": STATIC}, MQAUTH_TIMEOUT=7)
    monkeypatch.setenv("MQAUTH_STATIC_USERNAME", "from-the-provider")
    assert resolve("default").options["username"] == "celery"
    monkeypatch.setenv("DJANGO_MQAUTH_DEFAULT_OPTIONS_USERNAME", "from-the-alias")
    monkeypatch.setenv("DJANGO_MQAUTH_DEFAULT_BROKER", "amqps://elsewhere.example.com/prod")
    monkeypatch.setenv("MQAUTH_TIMEOUT", "3")
    assert resolve("default").options["username"] == "from-the-alias"
    assert resolve("default").settings["timeout"] == 3
    assert django_mqauth.broker_url() == "mqauths://default@elsewhere.example.com/prod"


def test_a_file_from_the_environment_replaces_an_inline_secret(
    use: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Either spelling of a secret wins over the other one in the settings."""
    (tmp_path / "password").write_text("from-the-file")
    use(MQAUTH={"default": STATIC})
    monkeypatch.setenv("DJANGO_MQAUTH_DEFAULT_OPTIONS_PASSWORD_FILE", str(tmp_path / "password"))
    assert resolve("default").options["password"].reveal() == "from-the-file"


def test_settings_ask_for_their_own_url(tmp_path: Path) -> None:
    """A settings file may call `broker_url` below `MQAUTH`, while it is being read."""
    done = manage(tmp_path, SETTINGS, "diffsettings")
    assert "CELERY_BROKER_URL = 'mqauths://default@rabbit.example.com/prod'" in done.stdout


def test_settings_that_cannot_work_are_read(tmp_path: Path) -> None:
    """What is wrong with an alias is told to who uses its URL, not to who reads the settings."""
    wrong = SETTINGS.replace("amqps://rabbit.example.com/prod", "rabbit.example.com")
    wrong += "CELERY_BROKER_USE_SSL = django_mqauth.broker_use_ssl()\n"
    done = manage(tmp_path, wrong, "diffsettings")
    assert "CELERY_BROKER_URL = <unusable: mqauth.E007: MQAUTH['default']" in done.stdout
    assert "CELERY_BROKER_USE_SSL = None" in done.stdout
    imports = "import celery, copy, django_mqauth, kombu; from django.conf import settings"
    for use in (
        "kombu.Connection(settings.CELERY_BROKER_URL)",
        "celery.Celery(broker=settings.CELERY_BROKER_URL).connection()",
        "kombu.Connection(copy.deepcopy(settings.CELERY_BROKER_URL))",
        "django_mqauth.broker_url()",
        "django_mqauth.source()",
    ):
        program = f"{imports}; {use}"
        done = python(tmp_path, "-c", program, check=False)
        assert "ImproperlyConfigured: mqauth.E007: MQAUTH['default']['BROKER']" in done.stderr


def test_a_copy_of_an_unusable_url_leads_nowhere() -> None:
    """Taken for plain text, such a URL has a scheme that Kombu does not know."""
    url = UnusableURL("default", ConfigurationError("it is wrong", remedy="mend it"))
    with pytest.raises(KeyError, match="mqauth-unusable"):
        kombu.Connection(f"{url}").connect()


def test_settings_in_several_modules(tmp_path: Path) -> None:
    """A module of settings that another one imports asks for its URL as if it were the only one."""
    (tmp_path / "base.py").write_text(SETTINGS)
    done = manage(tmp_path, "from base import *", "diffsettings")
    assert "CELERY_BROKER_URL = 'mqauths://default@rabbit.example.com/prod'" in done.stdout
    change = "MQAUTH['default']['BROKER'] = 'amqps://other.example.com/'"
    done = manage(tmp_path, f"from base import *\n{change}", "check")
    assert "(mqauth.E028) CELERY_BROKER_URL leads to rabbit.example.com" in done.stderr
    again = "import django_mqauth\nCELERY_BROKER_URL = django_mqauth.broker_url()"
    done = manage(tmp_path, f"from base import *\n{change}\n{again}", "diffsettings")
    assert "CELERY_BROKER_URL = 'mqauths://default@other.example.com/'" in done.stdout


def test_settings_that_ask_too_early_are_told(tmp_path: Path) -> None:
    """Above `MQAUTH` the system check says to ask below, or to pass it."""
    early = "import django_mqauth\nCELERY_BROKER_URL = django_mqauth.broker_url()\n"
    done = manage(tmp_path, early + SETTINGS.replace("CELERY_BROKER_URL =", "#"), "check")
    assert done.returncode == 1
    assert "(mqauth.E028) CELERY_BROKER_URL was made before" in done.stderr
    assert "broker_url(settings=MQAUTH)" in done.stderr


def test_a_part_of_settings_passes_them(use: Callable[..., None]) -> None:
    """A file of settings that Django does not know passes `MQAUTH` itself."""
    url = django_mqauth.broker_url("eu", settings={"eu": STATIC})
    assert url == "mqauths://eu@rabbit.example.com/prod"


def test_diffsettings_shows_no_secret(tmp_path: Path) -> None:
    """What somebody wrote into the settings all the same is not shown by Django."""
    login = SETTINGS.replace("amqps://rabbit", f"amqps://celery:{CANARY}@rabbit").replace(
        "CELERY_BROKER_URL", "# "
    )
    misplaced = SETTINGS + (
        "MQAUTH['default']['TRANSPORT_OPTIONS'] = "
        f"{{'password': '{CANARY}', 'auth': {{'client_secret': '{CANARY}'}}}}\n"
    )
    celery = SETTINGS + (
        f"CELERY_BROKER_URL += ';amqps://u:{CANARY}@b.example.com/'\n"
        f"CELERY_BROKER_READ_URL = ['amqps://u:{CANARY}@c.example.com/']\n"
        f"CELERY_BROKER_WRITE_URL = 'mqauths://default@h/?password={CANARY}'\n"
        f"CELERY_BROKER_PASSWORD = '{CANARY}'\n"
        "CELERY_BROKER_TRANSPORT_OPTIONS = {'auth': {'client_secret': '%(c)s'}, "
        "'sentinel_kwargs': {'password': '%(c)s'}}\n" % {"c": CANARY}
    )
    shapes = [
        SETTINGS.replace("CELERY_BROKER_URL =", f"MQAUTH = {wrong!r}\n#")
        for wrong in (
            f"amqps://u:{CANARY}@h/",
            [{"OPTIONS": {"password": CANARY}}],
            {"default": f"amqps://u:{CANARY}@h/"},
            {"default": {"PASSWORD": CANARY, "BROKER": (f"u:{CANARY}@h",)}},
        )
    ]
    for text in (SETTINGS, login, misplaced, celery, *shapes):
        done = manage(tmp_path, text, "diffsettings", "--all")
        assert "MQAUTH = " in done.stdout, done.stderr
        assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "change",
    [
        "['OPTIONS']['issuer'] = 'https://u:{c}@login.example.com/'",
        "['OPTIONS']['password'] = b'{c}'",
        "['OPTIONS']['password'] = ('{c}',)",
        "['OPTIONS']['password'] = ['x', {{'y': '{c}'}}]",
        "['OPTIONS']['pasword'] = '{c}'",
        "['OPTIONS']['client_secret_value'] = '{c}'",
        "['OPTIONS']['list'] = [({{'password': '{c}'}},)]",
        "['OPTIONS']['command'] = ['curl', 'https://u:{c}@h/', b'https://u:{c}@h/']",
        "['OPTIONS']['set'] = {{'https://u:{c}@h/'}}",
        "['OPTIONS'] = [{{'password': '{c}'}}]",
        "['OPTIONS'] = M({{'password': '{c}', 'x': M({{'token': '{c}'}})}})",
        "['TRANSPORT_OPTIONS'] = M({{'password': '{c}', 'auth': M({{'pasword': '{c}'}})}})",
        "['TRANSPORT_OPTIONS'] = [{{'password': '{c}'}}]",
        " = M({{'PROVIDER': 'static', 'OPTIONS': {{'password': '{c}'}}}})",
        " = [{{'OPTIONS': {{'password': '{c}'}}}}]",
        " = ({{'OPTIONS': {{'password': '{c}'}}}},)",
        "['BROKER'] = 'x'; MQAUTH = M(MQAUTH)",
        "['BROKER'] = 'x'; MQAUTH = ({{'OPTIONS': {{'password': '{c}'}}}},)",
        "['BROKER'] = 'x'; CELERY_BROKER_TRANSPORT_OPTIONS = M({{'password': '{c}'}})",
    ],
)
def test_secrets_that_checks_refuse_are_hidden(tmp_path: Path, change: str) -> None:
    """Whatever is wrong with a setting, what stands in it does not show, as repr or pprint."""
    module = tmp_path / "written.py"
    module.write_text(
        f"from types import MappingProxyType as M\nMQAUTH = {{'default': {WRITTEN}}}\n"
        "MQAUTH['default']" + change.format(c=CANARY)
    )
    written = runpy.run_path(str(module)).items()
    given = {name: value for name, value in written if name.isupper() and len(name) > 1}
    with override_settings(**given):
        settings_as_shown = [getattr(settings, name) for name in given]
        assert CANARY not in repr(settings_as_shown) + pprint.pformat(settings_as_shown)


def test_what_is_hidden_is_what_was_written(use: Callable[..., None]) -> None:
    """An option of a provider that names no secret is as it was, paths of secrets included."""
    options = {
        "client_secret_file": "/run/secrets/a",
        "token_url": "https://login.example.com/token",
        "path": "/run/token",
        "scope": ("a", "b"),
        "issuer": f"https://u:{CANARY}@login.example.com/",
    }
    use(MQAUTH={"default": {**STATIC, "OPTIONS": dict(options)}})
    assert settings.MQAUTH["default"]["OPTIONS"] == options
    assert "/run/secrets/a" in repr(settings.MQAUTH)
    assert "https://********@login.example.com/" in repr(settings.MQAUTH)


def test_settings_that_cannot_change_may_hold_themselves(use: Callable[..., None]) -> None:
    """A mapping that cannot be changed is copied once, though it leads back to itself."""
    inner: dict[str, Any] = {"password": CANARY}
    inner["again"] = MappingProxyType(inner)
    use(MQAUTH={"default": {**STATIC, "ODD": MappingProxyType(inner)}})
    assert CANARY not in repr(settings.MQAUTH["default"]["ODD"])


def test_error_pages_show_no_login_of_a_url(use: Callable[..., None], database: None) -> None:
    """`runserver` hands the whole environment on to requests, and error pages show it."""
    login, both = f"amqp://u:{CANARY}@h/", f"amqp://a.example.com/;amqp://u:{CANARY}@b.example.com/"
    environment = {"CELERY_BROKER_URL": login, "BROKER": both, "PLAIN": "amqp://plain.example.com"}
    use(DEBUG=True, CELERY_RESULT_BACKEND=login, OTHERS=[{"url": (login,)}])
    client = Client(raise_request_exception=False)
    for accept in ("text/html", "text/plain"):
        answer = client.get("/defect/", headers={"accept": accept}, **environment)
        said = answer.content.decode()
        assert answer.status_code == 500
        assert CANARY not in said
        assert said.count("amqp://********@h/") == 3
        assert "amqp://a.example.com/;amqp://********@b.example.com/" in said
        assert "amqp://plain.example.com" in said


@pytest.mark.parametrize(
    "value",
    [
        f'"amqp://u:{CANARY}@h"',
        f"\n amqp://u:{CANARY}@h/",
        f'{{"broker": "amqp://u:{CANARY}@h/", "mail": "a@b.example.com"}}',
        f"see amqp://h/ and amqp://u:{CANARY}@h/",
        f"amqp://u:{CANARY}@h/".encode(),
        {f"amqp://u:{CANARY}@h/"},
    ],
)
def test_error_pages_hide_logins_within_other_text(value: object) -> None:
    """Quotes that docker's `--env-file` leaves, say, are what brings the page about."""
    said = repr(URLReporterFilter().cleanse_setting("X", value))
    assert CANARY not in said
    assert "********" in said


def test_a_filter_of_error_pages_stays(tmp_path: Path) -> None:
    """Who chose a filter for error pages keeps it."""
    chosen = SETTINGS + "DEFAULT_EXCEPTION_REPORTER_FILTER = 'site.own.Filter'\n"
    said = manage(tmp_path, chosen, "diffsettings").stdout
    assert "DEFAULT_EXCEPTION_REPORTER_FILTER = 'site.own.Filter'" in said


def test_what_celery_is_told_stays_what_it_is(use: Callable[..., None]) -> None:
    """A password in Celery's settings is hidden where it is looked at, and nowhere else."""
    importlib.import_module("celery_mqauth")  # registers the scheme where Kombu comes first
    url = f"mqauths://default@a.example.com/;amqps://u:{CANARY}@b.example.com/v"
    use(
        MQAUTH={"default": STATIC},
        CELERY_BROKER_URL=url,
        CELERY_BROKER_READ_URL=(url,),
        CELERY_BROKER_TRANSPORT_OPTIONS={"sentinel_kwargs": {"password": CANARY}},
    )
    given = (settings.CELERY_BROKER_URL, *settings.CELERY_BROKER_READ_URL)
    assert given == (url, url)
    assert kombu.Connection(given[0]).alt == url.split(";")
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    assert options["sentinel_kwargs"]["password"] == CANARY
    for shown in (repr(given), pprint.pformat(given), repr(options), pprint.pformat(options)):
        assert CANARY not in shown
    assert "amqps://********@b.example.com/v" in repr(given)


def test_settings_that_hold_themselves_are_hidden(use: Callable[..., None]) -> None:
    """A secret among settings that never end is hidden, however deep it stands."""
    deep: dict[str, Any] = {"password": CANARY}
    for _ in range(2000):
        deep = {"x": deep}
    loop: dict[str, Any] = {"auth": {"client_secret": CANARY}, "password": CANARY, "deep": deep}
    loop["x"] = loop["auth"]["x"] = loop
    use(
        MQAUTH={"default": {**STATIC, "TRANSPORT_OPTIONS": loop, "ODD": loop}},
        CELERY_BROKER_TRANSPORT_OPTIONS=loop,
    )
    while "x" in deep:
        deep = deep["x"]
    del loop["deep"]
    for shown in (loop, deep, settings.MQAUTH):
        assert CANARY not in repr(shown)


def test_librdkafka_gets_what_was_written(use: Callable[..., None], tmp_path: Path) -> None:
    """A password among the settings for librdkafka opens its key, and does not show."""
    files = create_certificates(tmp_path)
    key = serialization.load_pem_private_key(files.key_file.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(CANARY.encode())
    files.key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    client = {
        "security.protocol": "ssl",
        "ssl.certificate.location": str(files.certificate_file),
        "ssl.key.location": str(files.key_file),
        "ssl.key.password": CANARY,
    }
    broker = {"BROKER": "mqauths-kafka://k.example.com", "PROVIDER": "token-file"}
    options = {"kafka_common_config": client, "auth": {"client_secret": CANARY}}
    use(MQAUTH={"default": {**broker, "TRANSPORT_OPTIONS": options}})
    given: Any = new_connection("default").transport_options
    AdminClient(dict(given["kafka_common_config"]))
    with pytest.raises(KafkaException, match=r"ssl\.key\.location failed"):
        AdminClient({**given["kafka_common_config"], "ssl.key.password": "another"})
    assert given["auth"]["client_secret"].reveal() == CANARY
    assert CANARY not in repr(settings.MQAUTH) + str(given)


def test_an_unusable_url_holds_no_frames() -> None:
    """The settings that were being read, secrets included, do not live on in its error."""
    with pytest.raises(ConfigurationError) as raised:
        conf.alias("default", {"default": {"PASSWORD": CANARY}})
    assert UnusableURL("default", raised.value).error.__traceback__ is None


def test_celery_without_django_knows_the_aliases(tmp_path: Path) -> None:
    """A process that only has Django's settings, as `celery inspect`, resolves an alias."""
    (tmp_path / "project_of_its_own.py").write_text(SETTINGS)
    program = (
        "from django.conf import settings; settings.DEBUG\n"
        "from mqauth.config.resolution import resolve\n"
        "print(resolve('default').provider)"
    )
    assert python(tmp_path, "-c", program).stdout == "static\n"


def test_a_program_without_django_has_no_aliases(tmp_path: Path) -> None:
    """A process that has nothing to do with Django does not even load it."""
    program = (
        "import os, sys\n"
        "from mqauth.config.named_entries import named_entries\n"
        "print(dict(named_entries(os.environ)), 'django' in sys.modules)"
    )
    assert python(tmp_path, "-c", program).stdout == "{} False\n"


def test_overriding_settings_begins_anew(
    site: Sandbox, alias: Callable[..., dict[str, Any]]
) -> None:
    """`override_settings` gives new sources and connections, and the old ones come back."""
    before = django_mqauth.source()
    before.get()
    connection = django_mqauth.connections["default"]
    connection.connect()
    with override_settings(MQAUTH={"default": alias(scope="none")}):
        assert not connection.connected
        assert django_mqauth.source().provider.identity.endswith("scope none")
    assert len(shared_sources()) == 0


def test_no_migration_is_missing(database: None) -> None:
    """The app's model and its migration agree."""
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.parametrize("all_rows", [False, True])
def test_there_are_no_rows_to_dump(database: None, *, all_rows: bool) -> None:
    """`dumpdata` looks at every model, and finds no table of ours."""
    output = io.StringIO()
    call_command("dumpdata", "mqauth", use_base_manager=all_rows, stdout=output)
    assert output.getvalue().strip() == "[]"


def test_names_of_aliases() -> None:
    """A name can stand in a URL and in an environment variable."""
    assert conf.is_alias_name("billing-eu_1")
    assert not any(map(conf.is_alias_name, ["", "1st", "a.b", "a b", "ä", 7]))


def manage(folder: Path, settings: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` with settings of its own."""
    (folder / "project_of_its_own.py").write_text(settings)
    return python(folder, "-m", "django", *arguments, check=False)


def python(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a Python that finds the project in `folder`."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MQAUTH_", "DJANGO_"))},
        "PYTHONPATH": str(folder),
        "DJANGO_SETTINGS_MODULE": "project_of_its_own",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=folder,
        check=check,
        capture_output=True,
        text=True,
        timeout=60,
    )
