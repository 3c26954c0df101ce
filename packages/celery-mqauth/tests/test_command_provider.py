"""The provider command signs in to real brokers with what a program prints."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from celery_mqauth.errors import CredentialUnavailableError, LoginRefusedError
from mqauth.shared import shared_sources
from mqauth_sandbox import OidcIssuer

ROTATIONS = 5

# As an operator would write one: with the standard library, and the secret from a file.
PROGRAM = """
import json, ssl, sys, urllib.parse, urllib.request
endpoint, ca_file, client_id, secret_file = sys.argv[1:]
form = {"grant_type": "client_credentials", "client_id": client_id}
with open(secret_file) as file:
    form["client_secret"] = file.read().strip()
try:
    with urllib.request.urlopen(
        endpoint,
        urllib.parse.urlencode(form).encode(),
        timeout=5,
        context=ssl.create_default_context(cafile=ca_file),
    ) as answer:
        content = json.load(answer)
except urllib.error.HTTPError as error:
    print(f"the issuer says {error.code}", file=sys.stderr)
    sys.exit(77)
print(json.dumps({"token": content["access_token"], "expires_in": content["expires_in"]}))
"""


@pytest.fixture
def command(issuer: OidcIssuer, auth: dict[str, Any], tmp_path: Path) -> list[str]:
    """A program that fetches tokens of the issuer."""
    program = tmp_path / "token.py"
    program.write_text(PROGRAM)
    secret = auth["client_secret_file"]
    arguments = (issuer.token_endpoint, auth["ca_file"], issuer.client_id, secret)
    return [sys.executable, "-I", str(program), *arguments]


def test_five_rotations(
    connect: Callable[..., kombu.Connection],
    issuer: OidcIssuer,
    command: list[str],
    queue: str,
    eventually: Callable[..., None],
) -> None:
    """One connection outlives five credentials that a program has printed."""
    # Renewed soon, and with time for a program that is slow to start.
    issuer.token_lifetime = 25.0
    link = connect(who="command", only_auth={"command": command, "renew_at": 0.02})
    raw = link.connection
    (source,) = shared_sources()
    with contextlib.closing(raw.channel()) as channel:
        for rotation in range(1, ROTATIONS + 1):
            channel.basic_publish(amqp.Message("x"), routing_key=queue)
            assert channel.basic_get(queue, no_ack=True).body == "x"
            eventually(lambda: source.status().rotations >= rotation, "a rotation")  # noqa: B023
        channel.basic_publish(amqp.Message("x"), routing_key=queue)
    assert link.connection is raw


def test_a_credential_that_the_broker_refuses(
    prepared: Callable[..., kombu.Connection],
) -> None:
    """A program that prints a wrong password is told by its name."""
    words = """print('{"username": "celery", "password": "wrong"}')"""
    link = prepared(who="command", only_auth={"command": [sys.executable, "-c", words]})
    with pytest.raises(LoginRefusedError, match="refused the login of command "):
        link.transport.establish_connection()


def test_a_program_that_is_refused(
    prepared: Callable[..., kombu.Connection], command: list[str], tmp_path: Path
) -> None:
    """What the program says last is what the user reads."""
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    link = prepared(who="command", only_auth={"command": [*command[:-1], str(wrong)]})
    with pytest.raises(CredentialUnavailableError, match="exit status 77: the issuer says 401"):
        link.transport.establish_connection()
