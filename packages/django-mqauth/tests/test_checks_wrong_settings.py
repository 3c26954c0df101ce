"""System checks: each wrong setting has an id and a hint that mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from check_settings import (
    CA,
    CANARY,
    GOOD,
    KAFKA,
    REMOTE_PLAIN,
    alias,
    celery,
    check,
    kafka,
    on_kafka,
    options,
)
from django_mqauth import broker_url


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
    "nobody known signs in": (
        celery(
            BROKER_URL="mqauths://r.example.com/",
            BROKER_TRANSPORT_OPTIONS={"auth": {"provider": "oauth3"}},
        ),
        "E020",
        "name one of",
    ),
    "broker that is a host alone": (celery(BROKER_URL=CANARY), "W013", "a whole URL"),
    "hosts alone": (celery(BROKER_URL="h1.example.com;h2"), "W013", "a whole URL"),
    "no URL": (celery(BROKER_URL="rabbit:5672"), "E033", "broker_url()"),
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
    "certificate beside the key": (alias(TLS={"keyfile": CA}), "E012", "as certfile, or take"),
    "relative app": ({**alias(), "MQAUTH_CELERY_APP": "..x"}, "E030", "proj.celery:app"),
    "namespace in lower case": (
        {**alias(), "MQAUTH_CELERY_NAMESPACE": "celery"},
        "E025",
        "in capitals",
    ),
    "cache within a file": (options(cache=f"{__file__}/x"), "E015", "directory"),
    "cache where nobody makes files": (options(cache="/proc/x"), "E015", "directory"),
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
    "no URL at all": (celery(BROKER_URL=f"={CANARY}"), "E033", "broker_url()"),
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
