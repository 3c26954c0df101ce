"""The error texts that the documentation explains are what really comes up, class and all."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kombu
import pytest
from packaging.version import Version

from celery_mqauth import login
from celery_mqauth.connection import RotatingConnection
from celery_mqauth.transport import Transport
from mqauth.secret import Secret
from mqauth.shared import forget_shared_sources
from mqauth_sandbox import FaultMode, OidcIssuer, Sandbox
from mqauth_sandbox.ports import free_ports
from tests.celery.processes import wait_until
from tests.docs.conftest import Place
from tests.docs.documents import ROOT, code_spans, table

CELERY = ROOT / "packages" / "celery-mqauth" / "README.md"
SYMPTOMS = {row[0]: row[1] for row in table(CELERY, "Symptom, cause, remedy").rows}
"""What a worker does, by the cell that holds the text, or two texts where chance decides."""
RECOVERED = (*Transport.connection_errors, *Transport.recoverable_connection_errors)
"""What a Celery worker reconnects on; over anything else it exits."""

Cause = Callable[["Scene"], object]
CAUSES: dict[str, Cause] = {}


def causes(text: str) -> Callable[[Cause], Cause]:
    """Register what brings up the symptom that contains `text`."""

    def register(cause: Cause) -> Cause:
        CAUSES[text] = cause
        return cause

    return register


class Scene:
    """A broker and an issuer to go wrong with."""

    def __init__(self, sandbox: Sandbox, place: Place) -> None:
        """Remember what signs in."""
        self.sandbox = sandbox
        self.issuer = sandbox.issuer
        self._opened: list[RotatingConnection] = []
        self._auth = {
            "issuer": sandbox.issuer.issuer_url,
            "client_id": sandbox.issuer.client_id,
            "client_secret_file": place.environment["MQAUTH_OAUTH2_CLIENT_SECRET_FILE"],
            "ca_file": str(sandbox.ca_file),
        }

    def sign_in(self, url: str | None = None, **auth: Any) -> Any:
        """Open a connection, as a process of its own would if nothing had been signed in yet."""
        connection = kombu.Connection(
            url or f"mqauth://oauth2@localhost:{self.sandbox.broker.amqp_port}//",
            transport_options={"auth": {**self._auth, **auth}},
        )
        raw = connection.transport.establish_connection()
        self._opened.append(raw)
        return raw

    def close(self) -> None:
        """Drop all connections."""
        for raw in self._opened:
            raw.collect()

    def at_the_issuer(self, mode: FaultMode) -> None:
        """Sign in while the issuer misbehaves."""
        with self.issuer.faults.during(mode):
            self.sign_in(timeout=3 if mode == "hang" else 20)

    def outlive_a_token(self) -> Any:
        """Return a connection whose token runs out because the issuer has gone."""
        self.issuer.token_lifetime = 6.0
        connection = self.sign_in()
        self.issuer.faults.mode = "down"
        return connection


@causes("there is no provider")
def _(scene: Scene) -> None:
    scene.sign_in("mqauth://oauth@localhost//")


@causes("has no option client_idd")
def _(scene: Scene) -> None:
    scene.sign_in(client_idd="celery")


@causes("does not say who signs in")
def _(scene: Scene) -> None:
    scene.sign_in("mqauth://localhost//")


@causes("holds a password")
def _(scene: Scene) -> None:
    scene.sign_in("mqauth://oauth2:secret@localhost//")


@causes("in clear text")
def _(scene: Scene) -> None:
    scene.sign_in("mqauth://oauth2@rabbit.example.com/prod")


@causes("no credential to sign in with: … cannot be reached")
def _(scene: Scene) -> None:
    scene.at_the_issuer("down")


@causes("gave no complete answer within")
def _(scene: Scene) -> None:
    scene.at_the_issuer("hang")


@causes("answered with a web page instead of JSON")
def _(scene: Scene) -> None:
    scene.at_the_issuer("html")


@causes("refused: HTTP 401 invalid_client")
def _(scene: Scene) -> None:
    scene.sign_in(client_secret_file=None, client_secret="another-secret")


@causes("the token is no JWT")
def _(scene: Scene) -> None:
    scene.at_the_issuer("not_jwt")


@causes("gave a token that expired")
def _(scene: Scene) -> None:
    scene.at_the_issuer("expired")


@causes("no connection to the broker")
def _(scene: Scene) -> None:
    (unused,) = free_ports(1)
    scene.sign_in(f"mqauth://oauth2@localhost:{unused}//")


@causes("no TLS with")
def _(scene: Scene) -> None:
    scene.sign_in(f"mqauths://oauth2@localhost:{scene.sandbox.broker.amqp_port}//")


@causes("is not to be trusted")
def _(scene: Scene) -> None:
    scene.sign_in(f"mqauths://oauth2@localhost:{scene.sandbox.broker.amqps_port}//")


@causes("refused the login of")
def _(scene: Scene) -> None:
    scene.issuer.resource_server_id = "another-broker"
    scene.sign_in()


@causes("which it has accepted before")
def _(scene: Scene) -> None:
    scene.sign_in()
    forget_shared_sources()
    scene.issuer.resource_server_id = "another-broker"
    scene.sign_in()


@causes("into the virtual host")
def _(scene: Scene) -> None:
    scene.sign_in(f"mqauth://oauth2@localhost:{scene.sandbox.broker.amqp_port}/nowhere")


@causes("access to topic")
def _(scene: Scene) -> None:
    permissions = ("configure", "write", "read")
    scene.issuer.scopes = [f"rabbitmq.{permission}:*/*" for permission in permissions]
    channel = scene.sign_in().channel()
    channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
    queue = channel.queue_declare(exclusive=True).queue
    channel.queue_bind(queue, "celeryev", "worker.#")


@causes("cut the login off")
def _(scene: Scene) -> None:
    scene.issuer.scopes = [f"rabbitmq.read:*/{'x' * 50}{number}" for number in range(200)]
    scene.sign_in()


@causes("refused the renewed credential of")
def _(scene: Scene) -> None:
    connection = scene.sign_in()
    foreign = Secret(scene.issuer.mint(aud=["another-broker"]))
    connection.credentials_renewed(replace(connection.credentials, password=foreign))
    connection.drain_events(timeout=20)


@causes("ran out")
def _(scene: Scene) -> None:
    connection = scene.outlive_a_token()
    channel = connection.channel()
    wait_until(lambda: connection.usable_until < time.time(), what="the end of the token's life")
    channel.basic_publish(channel.prepare_message("late"), routing_key="nobody")


@causes("CONNECTION_FORCED - credential expired")
def _(scene: Scene) -> None:
    scene.outlive_a_token().drain_events(timeout=20)


@pytest.fixture
def scene(
    mqauth_sandbox: Sandbox,
    mqauth_issuer: OidcIssuer,
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    """A scene in which nobody has signed in yet."""
    monkeypatch.setattr(login, "_has_signed_in", set())
    name = mqauth_issuer.resource_server_id
    scene = Scene(mqauth_sandbox, place)
    yield scene
    scene.close()
    mqauth_issuer.resource_server_id = name


@pytest.mark.parametrize("cell", SYMPTOMS)
def test_symptom_comes_up(cell: str, scene: Scene) -> None:
    """The cause brings up the very text, and a worker stops or retries as documented."""
    (cause,) = [CAUSES[part] for part in CAUSES if part in cell]
    if "4.2.6 and newer" in cell and Version(scene.sandbox.broker.version) < Version("4.2.6"):
        with pytest.raises(TimeoutError):  # nothing comes: the connection stays, as documented
            cause(scene)
        return
    with pytest.raises(Exception, match=pattern(code_spans(cell))) as raised:
        cause(scene)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, RECOVERED) is (SYMPTOMS[cell] == "retries")


def test_every_symptom_has_a_cause() -> None:
    """Nothing is explained that does not come up, and nothing comes up unexplained."""
    assert all(any(part in cell for cell in SYMPTOMS) for part in CAUSES)
    assert set(SYMPTOMS.values()) == {"stops", "retries"}


def pattern(texts: list[str]) -> str:
    """Return the regular expression of documented texts, in which … is anything."""
    each = (".*".join(map(re.escape, text.split("…"))) for text in texts)
    return f"^({'|'.join(each)})$"
