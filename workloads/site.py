"""Where a run takes place: a sandbox, and how worker and producer sign in there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mqauth_sandbox import Broker, Sandbox
from mqauth_sandbox.rabbitmq.prepare import prepare
from workloads.callable_password import token_password_environment
from workloads.settings import TransportName

Auth = Literal["oauth2", "aws-iam"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A broker to work on and everything needed to reach it.

    Args:
        broker: The broker.
        broker_url: As worker and producer use it.
        judge_url: Plain AMQP with a login that does not expire, for the observer alone.
        ca_file: Certificate authority of the broker, or empty without TLS.
        environment: Environment of worker and producer.
        fetches: Returns how many tokens the issuer has handed out.
    """

    broker: Broker
    broker_url: str = field(repr=False)
    judge_url: str = field(repr=False)
    ca_file: str
    environment: Mapping[str, str] = field(repr=False)
    fetches: Callable[[], int]


@contextlib.contextmanager
def sandbox_site(
    *,
    broker: str,
    ttl: float,
    auth: Auth,
    transport: TransportName,
    tls: bool,
    progress: Callable[[str], None],
) -> Iterator[Site]:
    """Bring up a sandbox and describe it.

    Args:
        broker: `3`, `4` or the path of an installation.
        ttl: Life of a token in seconds.
        auth: Identity system that the tokens come from.
        transport: How worker and producer sign in.
        tls: Whether they use AMQPS.
        progress: Called with one line for each lengthy thing done.

    Raises:
        SandboxError: The sandbox cannot be had; the text says why and what to do.
    """
    match broker:
        case "3" | "4":
            prepare(broker, progress)
    progress(f"starting RabbitMQ {broker} and the issuers")
    kind: Literal["oauth2", "amazonmq"] = "oauth2" if auth == "oauth2" else "amazonmq"
    with (
        Sandbox(broker=broker, token_lifetime=ttl, broker_auth=kind) as sandbox,
        tempfile.TemporaryDirectory(prefix="mqauth-run-") as private,
    ):
        # AWS itself gives no token for less than a minute.
        sandbox.sts.token_lifetime_override = ttl
        yield _describe(sandbox, auth=auth, transport=transport, tls=tls, private=Path(private))


def forget_foreign_settings() -> None:
    """Take out of this process's environment what configures Celery, mqauth or AWS.

    A run has settings of its own, and Celery prefers its variables to them.
    """
    for name in list(os.environ):
        foreign = name.startswith(("CELERY_", "MQAUTH_", "AWS_"))
        if foreign and not name.startswith("MQAUTH_SANDBOX_"):
            del os.environ[name]


def _describe(
    sandbox: Sandbox, *, auth: Auth, transport: TransportName, tls: bool, private: Path
) -> Site:
    broker = sandbox.broker
    login = f"{broker.admin_user}:{broker.admin_password}"
    port = broker.amqps_port if tls else broker.amqp_port
    address = f"{broker.host}:{port}/"
    issuer = sandbox.issuer
    environment = {**os.environ} | sandbox.environment() | {"MQAUTH_CACHE": str(private)}
    # Celery prefers this variable to its configuration.
    del environment["CELERY_BROKER_URL"]
    match transport:
        case "plain":
            url = f"pyamqp://{login}@{address}"
        case "mqauth":
            url = f"{'mqauths' if tls else 'mqauth'}://{auth}@{address}"
        case _:
            # The broker takes the user name from the token; Kombu wants some name in the URL.
            url = f"pyamqp://token@{address}"
            environment |= token_password_environment(
                token_endpoint=issuer.token_endpoint,
                client_id=issuer.client_id,
                client_secret=issuer.client_secret,
                ca_file=str(sandbox.ca_file),
            )
    return Site(
        broker=broker,
        broker_url=url,
        judge_url=f"pyamqp://{login}@{broker.host}:{broker.amqp_port}/",
        ca_file=str(sandbox.ca_file) if tls else "",
        environment=environment,
        fetches=lambda: (issuer if auth == "oauth2" else sandbox.sts).fetches,
    )
