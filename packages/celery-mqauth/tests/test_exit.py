"""A process may exit at any moment without taking back what it has just told the broker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from mqauth_sandbox import OidcIssuer, Sandbox, TcpProxy

SCENARIO = Path(__file__).with_name("exit_scenario.py")


@pytest.mark.parametrize("way", ["process", "child", "pool"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_last_acknowledgement_arrives(
    *,
    sandbox: Sandbox,
    issuer: OidcIssuer,
    auth: dict[str, Any],
    admin: kombu.Connection,
    queue: str,
    eventually: Callable[..., None],
    tls: bool,
    way: str,
) -> None:
    """It does though the answer to a renewal lies unread, for which TCP would reset the link."""
    # What is stalled reaches the broker seconds later, while the last renewal there still holds.
    issuer.token_lifetime = 20
    admin.default_channel.basic_publish(amqp.Message("task"), "", queue)
    settings = {f"MQAUTH_OAUTH2_{name.upper()}": value for name, value in auth.items()}
    target = sandbox.broker.amqps_port if tls else sandbox.broker.amqp_port
    with TcpProxy(target) as proxy:
        url = f"mqauth{'s' if tls else ''}://oauth2@localhost:{proxy.port}//"
        with subprocess.Popen(
            [sys.executable, "-W", "error", str(SCENARIO), url, str(sandbox.ca_file), queue, way],
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"renewed\n"
            proxy.stall()
            process.stdin.write(b"\n")
            process.stdin.close()
            assert process.wait(30) == 0
        proxy.resume()

        def declared() -> Any:
            return admin.default_channel.queue_declare(queue, passive=True)

        eventually(lambda: declared().consumer_count == 0, "the end of the connection")
        assert declared().message_count == 0
