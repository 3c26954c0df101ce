"""The schemes are known by installation alone, in a process that has done nothing yet."""

from __future__ import annotations

import subprocess
import sys

import kombu
import pytest
from kombu import serialization
from kombu.transport import TRANSPORT_ALIASES, get_transport_cls

import celery_mqauth
from celery_mqauth.registration import SCHEMES
from celery_mqauth.transport import SSLTransport, Transport

USES = {
    "a Celery app": "import celery; c = celery.Celery(broker={url!r}).connection_for_write()",
    "Kombu after its import": "import kombu, celery_mqauth; c = kombu.Connection({url!r})",
    "Kombu's serialization": (
        "import kombu, kombu.serialization, kombu.messaging; c = kombu.Connection({url!r})"
    ),
}


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@pytest.mark.parametrize("use", USES)
def test_a_new_process_knows_the_schemes(use: str, scheme: str) -> None:
    """Neither a setting nor, with Celery, an import is needed; and nothing warns."""
    code = USES[use].format(url=f"{scheme}://oauth2@localhost//")
    code += "; print(type(c.transport).__module__, c.as_uri())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    module, uri = done.stdout.split()
    assert module == f"celery_mqauth{'.kafka' if 'kafka' in scheme else ''}.transport"
    assert uri.startswith(f"{scheme}://oauth2")


def test_importing_it_costs_no_provider() -> None:
    """A process that names another transport loads neither providers nor HTTP libraries."""
    expensive = ("requests", "authlib", "boto3", "mqauth", "celery", "confluent_kafka")
    code = (
        "import sys, kombu.serialization, celery_mqauth;"
        f"print([name for name in {expensive} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_registering_twice_changes_nothing() -> None:
    """The package may be imported by entry point and by hand."""
    before = dict(TRANSPORT_ALIASES)
    celery_mqauth.register_schemes()
    assert before == TRANSPORT_ALIASES
    assert get_transport_cls("mqauth") is Transport
    assert get_transport_cls("mqauths") is SSLTransport


def test_the_serializer_of_the_entry_point_works() -> None:
    """Kombu's entry-point group wants a serializer; the one that is there is usable JSON."""
    content_type, encoding, body = serialization.dumps({"a": [1]}, "mqauth-registration")
    assert (content_type, encoding) == ("application/x-mqauth-json", "utf-8")
    assert serialization.loads(body, content_type, encoding, accept={content_type}) == {"a": [1]}


def test_ports_and_tls_follow_the_scheme() -> None:
    """Without a port the scheme's usual one is taken; without a user nobody signs in as guest."""
    plain, tls = kombu.Connection("mqauth://oauth2@h//"), kombu.Connection("mqauths://oauth2@h//")
    assert (plain.transport.default_connection_params["port"], plain.ssl) == (5672, False)
    assert (tls.transport.default_connection_params["port"], tls.ssl) == (5671, True)
    kafka = [
        kombu.Connection(f"{scheme}://oauth2@h") for scheme in ("mqauth-kafka", "mqauths-kafka")
    ]
    assert [(c.transport.default_port, c.ssl) for c in kafka] == [(9092, False), (9098, True)]
    assert "userid" not in plain.transport.default_connection_params
