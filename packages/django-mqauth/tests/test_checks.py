"""System checks: each wrong configuration has an id and a hint that mends it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from django_mqauth import broker_url
from mqauth import Secret
from mqauth.shared import forget_shared_sources
from mqauth_sandbox import Sandbox

CANARY = "c4n4ry-5ecret"
GOOD_OPTIONS = {
    "issuer": "https://login.example.com/realms/prod",
    "client_id": "celery",
    "client_secret": Secret(CANARY),
}
GOOD = {"BROKER": "amqps://rabbit.example.com/prod", "PROVIDER": "oauth2", "OPTIONS": GOOD_OPTIONS}
CA = certifi.where()
REMOTE_PLAIN = "amqp://rabbit.example.com/prod"


def alias(**changes: Any) -> dict[str, Any]:
    """Return settings with one alias that is right but for the changes; None leaves a key out."""
    entry = {**GOOD, **changes}
    return {"MQAUTH": {"default": {k: v for k, v in entry.items() if v is not None}}}


def options(**changes: Any) -> dict[str, Any]:
    """Return settings whose alias has other options."""
    return alias(OPTIONS={k: v for k, v in {**GOOD_OPTIONS, **changes}.items() if v is not None})


def celery(**settings: Any) -> dict[str, Any]:
    """Return right settings with some of Celery's."""
    return {**alias(), **{f"CELERY_{name}": value for name, value in settings.items()}}


KAFKA = "mqauths-kafka://k.example.com"


def kafka(**changes: Any) -> dict[str, Any]:
    """Return settings with one alias on Kafka."""
    return alias(**{"BROKER": KAFKA, **changes})


def on_kafka(**settings: Any) -> dict[str, Any]:
    """Return Celery's settings with the URL of that alias, but for the changes."""
    given = {"BROKER_URL": "mqauths-kafka://default@k.example.com/", **settings}
    return {f"CELERY_{name}": value for name, value in given.items()}


class Failing:
    """A Celery app whose settings cannot be read."""

    @property
    def control(self) -> None:
        """Fail as settings do that a variable of the environment is missing for."""
        raise KeyError(CANARY)


# What is wrong, the id, and a piece of the hint that mends it.
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a list": ({"MQAUTH": [GOOD]}, "E001", '"default": {"BROKER"'),
    "text": ({"MQAUTH": "amqps://rabbit.example.com"}, "E001", '"default": {"BROKER"'),
    "alias with a blank": ({"MQAUTH": {"default": GOOD, "my broker": GOOD}}, "E002", "letters"),
    "alias that is a number": ({"MQAUTH": {"default": GOOD, 7: GOOD}}, "E002", "letters"),
    "alias that is a URL": ({"MQAUTH": {"default": REMOTE_PLAIN}}, "E003", "Write a dict"),
    "misspelt key": (alias(BROKR="x"), "E004", "BROKER, PROVIDER"),
    "key in lower case": (alias(provider="oauth2"), "E004", "PROVIDER"),
    "option beside OPTIONS": (alias(client_id="celery"), "E004", "belongs into OPTIONS"),
    "OPTIONS as a list": (alias(OPTIONS=["client_id"]), "E005", '"client_id"'),
    "TLS as a path": (alias(TLS="/etc/ca.pem"), "E005", '"ca_certs"'),
    "no BROKER": (alias(BROKER=None), "E006", "DJANGO_MQAUTH_DEFAULT_BROKER"),
    "host alone": (alias(BROKER="rabbit.example.com"), "E007", "amqps://"),
    "HTTP": (alias(BROKER="https://rabbit.example.com"), "E007", "amqps://"),
    "no host": (alias(BROKER="amqps:///prod"), "E007", "amqps://rabbit.example.com/prod"),
    "scheme that says password": (alias(BROKER="password://r.example.com"), "E007", "amqps://"),
    "bad port": (alias(BROKER="amqps://rabbit.example.com:port/"), "E007", "amqps://"),
    "slash in the vhost": (alias(BROKER="amqps://r.example.com/a/b"), "E007", "%2F"),
    "query string": (alias(BROKER="amqps://r.example.com/p?heartbeat=1"), "E007", "TLS"),
    "user in the URL": (alias(BROKER="amqps://celery@r.example.com/p"), "E007", "PROVIDER"),
    "password in the URL": (alias(BROKER=f"amqps://u:{CANARY}@r.example.com/"), "E008", "out"),
    "password in a list": (alias(BROKER=[f"amqps://u:{CANARY}@r.example.com/"]), "E008", "out"),
    "plain text": (alias(BROKER=REMOTE_PLAIN), "E009", "amqps://"),
    "plain text in failover": (
        alias(BROKER=f"{GOOD['BROKER']};{REMOTE_PLAIN}"),
        "E009",
        "amqps://",
    ),
    "misspelt TLS option": (alias(TLS={"ca_cert": CA}), "E010", "ca_certs"),
    "verification off": (alias(TLS={"cert_reqs": 0}), "E011", "ca_certs"),
    "host name unchecked": (
        alias(TLS={"context": {"check_hostname": False}}),
        "E011",
        "ca_certs",
    ),
    "no such authority": (alias(TLS={"ca_certs": "/nowhere/ca.pem"}), "E012", "PEM file"),
    "no PROVIDER": (alias(PROVIDER=None), "E013", "oauth2"),
    "misspelt provider": (alias(PROVIDER="oauth"), "E014", "Known providers: "),
    "provider that is a class": (alias(PROVIDER=dict), "E014", "Known providers: "),
    "renewal after expiry": (options(renew_at=1.5), "E015", "MQAUTH_RENEW_AT"),
    "endless timeout": (options(timeout=3600), "E015", "MQAUTH_TIMEOUT"),
    "timeout that is a word": (options(timeout="soon"), "E015", "MQAUTH_TIMEOUT"),
    "default timeout": ({**alias(), "MQAUTH_TIMEOUT": -1}, "E015", "MQAUTH_TIMEOUT"),
    "cache in a relative folder": (options(cache="cache"), "E015", "MQAUTH_CACHE"),
    "misspelt option": (options(client_idd="celery"), "E016", "client_id"),
    "missing option": (options(client_id=None), "E016", "client_id"),
    "missing file of a secret": (
        options(client_secret=None, client_secret_file="/nowhere/secret"),
        "E016",
        "name a file",
    ),
    "issuer in clear": (options(issuer="http://login.example.com"), "E016", "https"),
    "password for Celery": (
        celery(BROKER_URL=f"mqauths://default:{CANARY}@r.example.com/"),
        "E018",
        "names who signs in",
    ),
    "nobody signs in": (celery(BROKER_URL="mqauths://r.example.com/"), "E019", "broker_url()"),
    "alias that nobody defined": (
        celery(BROKER_URL="mqauths://defualt@r.example.com/"),
        "E020",
        "Add the alias to MQAUTH",
    ),
    "plain text for Celery": (
        celery(BROKER_URL="mqauth://default@r.example.com/"),
        "E021",
        "mqauths://",
    ),
    "verification off for Celery": (
        celery(BROKER_URL="mqauths://default@r.example.com/", BROKER_USE_SSL={"cert_reqs": 0}),
        "E011",
        "ca_certs",
    ),
    "auth options as text": (celery(BROKER_TRANSPORT_OPTIONS={"auth": "oauth2"}), "E022", "dict"),
    "secret for Celery": (
        celery(BROKER_TRANSPORT_OPTIONS={"auth": {"client_secret": CANARY}}),
        "E023",
        "client_secret_file",
    ),
    "port out of range": (alias(BROKER="amqps://r.example.com:99999/"), "E007", "1 to 65535"),
    "authority without certificate": (alias(TLS={"ca_certs": __file__}), "E012", "PEM file"),
    "certificate without key": (alias(TLS={"certfile": CA}), "E012", "PEM file"),
    "key without certificate": (alias(TLS={"keyfile": CA}), "E012", "PEM file"),
    "cache in a file": (options(cache=__file__), "E015", "directory"),
    "Celery's options as a list": (celery(BROKER_TRANSPORT_OPTIONS=["x"]), "E005", "dict"),
    "auth of an alias as text": (alias(TRANSPORT_OPTIONS={"auth": "oauth2"}), "E022", "dict"),
    "server name that is a number": (alias(TLS={"server_hostname": 5}), "E029", "certificate"),
    "ciphers that nobody knows": (alias(TLS={"ciphers": "NOPE"}), "E029", "ECDHE"),
    "TLS for Celery as a path": (celery(BROKER_USE_SSL="/etc/ca.pem"), "E029", "broker_use_ssl()"),
    "app that is not there": (
        {**alias(), "MQAUTH_CELERY_APP": "no.where:app"},
        "E030",
        "celery:app",
    ),
    "app that is none": ({**alias(), "MQAUTH_CELERY_APP": "os:path"}, "E030", "proj.celery:app"),
    "timeout that is text": (alias(TRANSPORT_OPTIONS={"read_timeout": "5s"}), "E031", "seconds"),
    "misspelt option in auth": (
        celery(
            BROKER_URL="mqauths://default@r.example.com/",
            BROKER_TRANSPORT_OPTIONS={"auth": {"clientid": "celery"}},
        ),
        "E032",
        "client_id",
    ),
    "URL that nobody called": (celery(BROKER_URL=broker_url), "E033", "parentheses"),
    "empty URL": (celery(BROKER_URL=""), "E033", "broker_url()"),
    "misspelt scheme": (celery(BROKER_URL="mqauth+tls://default@h/"), "E033", "mqauths://"),
    "scheme near ours": (celery(BROKER_URL="mqaths://default@h/"), "E033", "mqauths://"),
    "scheme near one of Kafka's": (
        celery(BROKER_URL="mqauths-kakfa://default@h/"),
        "E033",
        "mqauths-kafka://",
    ),
    "scheme in capitals": (celery(BROKER_URL="MQAUTH://default@localhost/"), "E033", "mqauth://"),
    "one slash": (celery(BROKER_URL="mqauths:/default@h/"), "E033", "mqauths://"),
    "near, and one slash": (celery(BROKER_URL="mqaths:/default@h/"), "E033", "mqauths://"),
    "no URL at all": (celery(BROKER_URL=CANARY), "E033", "broker_url()"),
    "no scheme": (celery(BROKER_URL=f"://u:{CANARY}@h/"), "E033", "broker_url()"),
    "slash in Celery's vhost": (celery(BROKER_URL="mqauths://default@h/a/b"), "E033", "%2F"),
    "parameter that nobody reads": (
        celery(BROKER_URL="mqauths://default@r.example.com/?heartbeat=9&retries=5"),
        "E033",
        "broker_use_ssl",
    ),
    "Kafka in clear text for Celery": (
        celery(BROKER_URL="mqauth-kafka://default@r.example.com"),
        "E021",
        "Write mqauths-kafka://:",
    ),
    "Kafka in clear text": (kafka(BROKER="mqauth-kafka://k.example.com"), "E009", "mqauths-kafka"),
    "RabbitMQ's port for Kafka": (kafka(BROKER=f"{KAFKA}:5671"), "W010", "takes OAUTHBEARER"),
    "Kafka over TLS without it": (kafka(BROKER="mqauth-kafka://[::1]:9098"), "W010", "9098"),
    "server name for Kafka": (kafka(TLS={"server_hostname": "k.example.com"}), "E010", "cert_reqs"),
    "server name for Celery's Kafka": (
        {**kafka(), **on_kafka(BROKER_USE_SSL={"server_hostname": "k.example.com"})},
        "E010",
        "with Kafka",
    ),
    "limit of Kafka that is text": (
        kafka(TRANSPORT_OPTIONS={"connect_limit": "soon"}),
        "E031",
        "give seconds",
    ),
    "limit of Celery's Kafka that is text": (
        {**kafka(), **on_kafka(BROKER_TRANSPORT_OPTIONS={"connect_limit": "soon"})},
        "E031",
        "give seconds",
    ),
    "verification off for librdkafka": (
        kafka(
            TRANSPORT_OPTIONS={
                "kafka_common_config": {"enable.ssl.certificate.verification": False}
            }
        ),
        "E011",
        "ca_certs",
    ),
    "password for librdkafka": (
        kafka(TRANSPORT_OPTIONS={"kafka_common_config": {"ssl.key.password": CANARY}}),
        "W005",
        "environment",
    ),
    "path that is none": (alias(TLS={"ca_certs": "/etc/ca\0.pem"}), "E012", "PEM file"),
    "app whose configuration fails": (
        {**alias(), "MQAUTH_CELERY_APP": Failing()},
        "E030",
        "app.control",
    ),
    "management's port": (alias(BROKER="amqps://r.example.com:15671/"), "W010", "5671"),
    "aliases that share variables": (
        {"MQAUTH": {"default": GOOD, "eu-1": GOOD, "eu_1": GOOD}},
        "W011",
        "Rename",
    ),
    "page that never refreshes": ({**alias(), "MQAUTH_ADMIN_REFRESH": 0}, "E024", "0.5 to 60"),
    "namespace that is none": ({**alias(), "MQAUTH_CELERY_NAMESPACE": "a b"}, "E025", "CELERY"),
    "no default": ({"MQAUTH": {"billing": GOOD}}, "W001", "default"),
    "misspelt setting": ({**alias(), "MQAUTH_TIMOUT": 5}, "W002", "MQAUTH_TIMEOUT"),
    "alias called like a provider": (
        {"MQAUTH": {"default": GOOD, "oauth2": GOOD}},
        "W003",
        "Rename it",
    ),
    "plain text while debugging": ({**alias(BROKER=REMOTE_PLAIN), "DEBUG": True}, "W004", "amqps"),
    "secret in the settings": (options(client_secret=CANARY), "W005", "client_secret_file"),
    "secret for Kombu": (
        alias(TRANSPORT_OPTIONS={"auth": {"client_secret": CANARY}}),
        "W005",
        "client_secret_file",
    ),
    "password in Celery's second broker": (
        celery(BROKER_URL=f"mqauths://default@r.example.com/;amqps://u:{CANARY}@b.example.com/"),
        "W009",
        "broker_url()",
    ),
    "password where Celery reads": (
        celery(BROKER_READ_URL=f"amqps://u:{CANARY}@b.example.com/"),
        "W009",
        "broker_url()",
    ),
    "password where Celery writes": (
        celery(BROKER_WRITE_URL=[f"mqauths://default:{CANARY}@b.example.com/"]),
        "E018",
        "names who signs in",
    ),
    "password beside the URL": (celery(BROKER_PASSWORD=CANARY), "W009", "broker_url()"),
    "TLS that Celery ignores": (
        {
            **celery(BROKER_URL="mqauths://default@r.example.com/"),
            **alias(TLS={"ca_certs": CA}),
        },
        "W006",
        "broker_use_ssl()",
    ),
    "static login for Celery": (
        celery(BROKER_URL=f"amqps://u:{CANARY}@rabbit.example.com/prod"),
        "W007",
        "broker_url('default')",
    ),
}


def check(**options: Any) -> str:
    """Return what `manage.py check` says."""
    output = io.StringIO()
    try:
        call_command("check", stdout=output, stderr=output, **options)
    except SystemCheckError as error:
        output.write(str(error))
    return output.getvalue()


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_settings_are_told(wrong: str, use: Callable[..., None]) -> None:
    """`manage.py check` prints the id and the hint, and no secret."""
    settings, identifier, hint = WRONG[wrong]
    use(**settings)
    said = check()
    found = [line for line in said.splitlines() if f"(mqauth.{identifier})" in line]
    assert found, said
    told = said.partition(f"(mqauth.{identifier})")[2].partition("HINT: ")[2].partition("\n")[0]
    assert hint.lower() in told.lower(), told
    assert f"System checks: {identifier}" in told
    assert CANARY not in said


def test_there_are_enough_wrong_settings() -> None:
    """Every id has a wrong configuration here, but for those that need more than settings."""
    ids = {identifier for _, identifier, _ in WRONG.values()}
    assert {f"E{n:03}" for n in range(1, 34)} - {"E017", "E026", "E027", "E028"} <= ids
    assert {f"W{n:03}" for n in range(1, 12)} - {"W008"} <= ids


RIGHT: dict[str, dict[str, Any]] = {
    "one alias": alias(),
    "nothing": {},
    "no aliases": {"MQAUTH": {}},
    "several": {"MQAUTH": {"default": GOOD, "billing-eu": GOOD}},
    "failover": alias(BROKER=["amqps://a.example.com/p", "amqps://b.example.com/p"]),
    "loopback in clear": alias(BROKER="amqp://localhost/%2F"),
    "insecure on purpose": {
        **alias(BROKER=REMOTE_PLAIN, OPTIONS={**GOOD_OPTIONS, "insecure": True})
    },
    "region out of the host's name": {
        "MQAUTH": {
            "default": {"BROKER": "amqps://b-1.mq.eu-west-1.on.aws/p", "PROVIDER": "aws-iam"}
        }
    },
    "Celery": celery(
        BROKER_URL="mqauths://default@rabbit.example.com/prod",
        BROKER_USE_SSL={"ca_certs": CA},
    ),
    "Celery with another provider": celery(BROKER_URL="mqauths://static@rabbit.example.com/prod"),
    "a parameter that is read": celery(
        BROKER_URL="mqauths://default@rabbit.example.com/prod?heartbeat=30"
    ),
    "Kafka": {
        **kafka(
            BROKER="mqauths-kafka://a.example.com:9098;mqauths-kafka://b.example.com:9094",
            TLS={"ca_certs": CA},
            TRANSPORT_OPTIONS={"connect_limit": 5, "kafka_common_config": {"debug": "security"}},
        ),
        **on_kafka(
            BROKER_URL="mqauths-kafka://default@a.example.com:9098/;"
            "mqauths-kafka://default@b.example.com:9094/",
            BROKER_USE_SSL={"ca_certs": CA},
            BROKER_TRANSPORT_OPTIONS={"connect_limit": 5},
        ),
    },
    "Kafka's servers with commas": {
        **kafka(),
        **on_kafka(BROKER_URL="mqauths-kafka://default@a.example.com,b.example.com:9098"),
    },
    "Kafka on this host": {
        **kafka(BROKER="mqauth-kafka://localhost:9092"),
        **on_kafka(BROKER_URL="mqauth-kafka://default@localhost:9092/"),
    },
    "Celery on Redis": celery(BROKER_URL="redis://localhost"),
    **{
        f"Celery on {scheme}": celery(BROKER_URL=f"{scheme}://")
        for scheme in ("amqp", "memory", "sqs", "confluentkafka", "sqla+sqlite", "pkg.mod:Mqtt")
    },
    "defaults": {**alias(), "MQAUTH_TIMEOUT": 5, "MQAUTH_CACHE": False, "MQAUTH_RENEW_AT": 0.3},
}


@pytest.mark.parametrize("right", RIGHT)
def test_right_settings_are_quiet(right: str, use: Callable[..., None]) -> None:
    """`manage.py check` has nothing to say."""
    use(**RIGHT[right])
    assert check() == "System check identified no issues (0 silenced).\n"


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


NEWCOMER = """
import django_mqauth
from mqauth import Secret
SECRET_KEY = "x"
INSTALLED_APPS = ["django_mqauth"]
ENTRY = {
    "BROKER": "amqps://rabbit.example.com/prod",
    "PROVIDER": "oauth2",
    "OPTIONS": {
        "issuer": "https://login.example.com/realms/prod",
        "client_id": "celery",
        "client_secret": Secret("c4n4ry-5ecret"),
    },
}
MQAUTH = {"default": ENTRY}
"""
URL = """
CELERY_BROKER_URL = django_mqauth.broker_url()
CELERY_BROKER_USE_SSL = django_mqauth.broker_use_ssl()
"""
# What a newcomer writes above or (where URL stands in it) around the lines of URL, and the id.
MISTAKES = {
    "MQAUTH = [ENTRY]": "E001",
    "MQAUTH = None": "E001",
    "MQAUTH = 'amqps://celery:c4n4ry-5ecret@rabbit.example.com/'": "E001",
    "MQAUTH = {'my broker': ENTRY}": "E002",
    "MQAUTH = {7: ENTRY}": "E002",
    "MQAUTH = {'default': None}": "E003",
    "MQAUTH = {'default': 'amqps://celery:c4n4ry-5ecret@rabbit.example.com/'}": "E003",
    "ENTRY['broker'] = ENTRY.pop('BROKER')": "E004",
    "ENTRY['PASSWORD'] = 'c4n4ry-5ecret'": "E004",
    "ENTRY[5] = 6": "E004",
    "ENTRY['OPTIONS'] = [1]": "E005",
    "ENTRY['OPTIONS'] = 'client_id'": "E005",
    "ENTRY['TRANSPORT_OPTIONS'] = 5": "E005",
    "ENTRY['OPTIONS']['x'] = ENTRY['OPTIONS']": "E016",
    "ENTRY['OPTIONS']['token_parameters'] = ENTRY": "E016",
    "ENTRY['default'] = MQAUTH": "E004",
    "URL; ENTRY['TLS'] = LOOP = {}; LOOP['x'] = LOOP": "E010",
    "URL; ENTRY['TRANSPORT_OPTIONS'] = LOOP = {5: 6}; LOOP['x'] = LOOP": "E031",
    "URL; CELERY_BROKER_TRANSPORT_OPTIONS = LOOP = {5: 6}; LOOP['x'] = LOOP": "E031",
    "ENTRY['TLS'] = 'x'": "E005",
    "ENTRY['TLS'] = True": "E005",
    "ENTRY['BROKER'] = []": "E006",
    "ENTRY['BROKER'] = 5": "E007",
    "ENTRY['BROKER'] = [5]": "E007",
    "ENTRY['BROKER'] = {'host': 'rabbit.example.com'}": "E007",
    "ENTRY['BROKER'] = 'rabbit.example.com:5671'": "E007",
    "ENTRY['BROKER'] = 'amqps://[::1/'": "E007",
    "ENTRY['BROKER'] = 'amqps://rabbit.example.com:0/'": "E007",
    "ENTRY['BROKER'] = 'celery:c4n4ry-5ecret@rabbit.example.com'": "E008",
    "ENTRY['BROKER'] = 'amqps://a.example.com/;amqps://u:c4n4ry-5ecret@b.example.com/'": "E008",
    "ENTRY['BROKER'] = 'amqps://rabbit.example.com/?password=c4n4ry-5ecret'": "E008",
    "ENTRY['BROKER'] = 'amqp://rabbit.example.com/'": "E009",
    "ENTRY['TLS'] = {5: 6}": "E010",
    "ENTRY['TLS'] = {'cert_reqs': 'CERT_NONE'}": "E011",
    "ENTRY['TLS'] = {'ca_certs': 5}": "E012",
    "ENTRY['TLS'] = {'certfile': '/nowhere/client.pem'}": "E012",
    "del ENTRY['PROVIDER']": "E013",
    "ENTRY['PROVIDER'] = ['oauth2']": "E014",
    "ENTRY['PROVIDER'] = 'OAuth2'": "E014",
    "ENTRY['OPTIONS']['timeout'] = float('nan')": "E015",
    "ENTRY['OPTIONS']['insecure'] = 'maybe'": "E015",
    "ENTRY['OPTIONS'][5] = 6": "E016",
    "ENTRY['OPTIONS']['issuer'] = ['x']": "E016",
    "del ENTRY['OPTIONS']": "E016",
    "URL; CELERY_BROKER_URL = django_mqauth.broker_url('defualt')": "E020",
    "URL; CELERY_BROKER_URL = django_mqauth.broker_url(5)": "E020",
    "MQAUTH = {}": "E020",
    "del MQAUTH": "E020",
    "HELD = MQAUTH; del MQAUTH; URL; MQAUTH = HELD": "E028",
    "URL; MQAUTH = {'default': {**ENTRY, 'BROKER': 'amqps://other.example.com/'}}": "E028",
    "ENTRY['TLS'] = {'context': 'x'}": "E029",
    "MQAUTH_CELERY_APP = 5": "E030",
    "ENTRY['TRANSPORT_OPTIONS'] = {5: 6}": "E031",
    "ENTRY['TRANSPORT_OPTIONS'] = {'auth': {'provider': 'oaut'}}": "E032",
    "URL; CELERY_BROKER_URL = 5": "E033",
    "URL; CELERY_BROKER_URL += ';amqps://u:c4n4ry-5ecret@b.example.com/'": "W009",
    "URL; BROKER_URL = CELERY_BROKER_URL; del CELERY_BROKER_URL": "W012",
    "MQAUTH_CELERY_NAMESPACE = 'celery'": "W012",
}


def test_mistakes_of_newcomers() -> None:
    """With `broker_url()` in the settings, each mistake has an id, a hint and no traceback."""
    sources = {"right": NEWCOMER + URL}
    for mistake in MISTAKES:
        lines = mistake.split("; ") if "URL; " in mistake else [mistake, "URL"]
        sources[mistake] = NEWCOMER + "\n".join(URL if line == "URL" else line for line in lines)
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "many_settings.py"],
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    said = json.loads(done.stdout)
    assert said.pop("right") == "System check identified no issues (0 silenced).\n"
    assert said.keys() == MISTAKES.keys()
    for mistake, text in said.items():
        identifier = MISTAKES[mistake]
        assert f"(mqauth.{identifier}) " in text, (mistake, text)
        assert f"System checks: {identifier})" in text, (mistake, text)
        assert "Traceback" not in text, (mistake, text)
        assert CANARY not in text, (mistake, text)


DEPLOY: dict[str, tuple[dict[str, Any], str]] = {
    "insecure": (options(insecure=True), "W101"),
    "this host": (alias(BROKER="amqps://localhost/"), "W102"),
    "no cache": (options(cache="off"), "W103"),
    "secret in the code": (options(client_secret=CANARY), "W104"),
}


@pytest.mark.parametrize("wrong", DEPLOY)
def test_deployment_is_checked(wrong: str, use: Callable[..., None]) -> None:
    """`check --deploy` tells what is fine on a developer's machine only."""
    settings, identifier = DEPLOY[wrong]
    use(**settings)
    assert f"mqauth.{identifier}" in check(deploy=True)
    assert f"mqauth.{identifier}" not in check()


def test_deployment_of_right_settings_is_quiet(use: Callable[..., None]) -> None:
    """`check --deploy` says nothing of ours about right settings."""
    use(**alias())
    assert "mqauth" not in check(deploy=True)


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


def test_live_check_runs_by_tag_only(site: Sandbox) -> None:
    """Nobody is asked for a credential unless the tag is named."""
    before = site.issuer.fetches
    check()
    assert site.issuer.fetches == before
    assert check(tags=["mqauth_live"]) == "System check identified no issues (0 silenced).\n"
    assert site.issuer.fetches == before + 1


def test_live_check_takes_what_the_host_has(
    site: Sandbox,
    use: Callable[..., None],
    alias: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """As the README says, a wrong secret shows only without the credential that the host holds."""
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(site.issuer.client_secret)
    use(MQAUTH={"default": alias(client_secret_file=str(secret))})
    monkeypatch.setenv("MQAUTH_CACHE", str(tmp_path / "cache"))
    check(tags=["mqauth_live"])
    secret.write_text("wrong")
    forget_shared_sources()
    assert "mqauth.E026" not in check(tags=["mqauth_live"])
    monkeypatch.setenv("MQAUTH_CACHE", "off")
    forget_shared_sources()
    assert "mqauth.E026" in check(tags=["mqauth_live"])


def test_live_check_tells_of_the_issuer(site: Sandbox) -> None:
    """An issuer that is down is an error of the live check, with its remedy."""
    with site.issuer.faults.during("error500"):
        said = check(tags=["mqauth_live"])
    assert "mqauth.E026" in said
    assert "mqauth_doctor" in said


def test_live_check_tells_of_the_broker(
    site: Sandbox, use: Callable[..., None], alias: Callable[..., dict[str, Any]]
) -> None:
    """A broker that is not there is an error of the live check."""
    use(MQAUTH={"default": alias(port=1)})
    assert "mqauth.E027" in check(tags=["mqauth_live"])


def test_checks_have_the_tag() -> None:
    """`check --tag mqauth` runs these checks."""
    assert run_checks(tags=["mqauth"]) == []
