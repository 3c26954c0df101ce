"""Where a run takes place: a sandbox, and how worker and producer sign in there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mqauth_sandbox import Broker, Sandbox
from mqauth_sandbox.rabbitmq.prepare import prepare
from workloads.callable_password import token_password_environment
from workloads.settings import TransportName
from workloads.systems import SYSTEMS, SignIn, System


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A broker to work on and everything needed to reach it.

    Args:
        broker: The broker.
        broker_url: As worker and producer use it.
        judge_url: Plain AMQP with a login that does not expire, for the observer alone.
        ca_file: Certificate authority of the broker, or empty without TLS.
        environment: Environment of worker and producer.
        fetches: Returns how many credentials have been handed out.
        renews_in_place: Whether live connections take a new secret.
        links: Returns how often each link of a chain has been gone through.
    """

    broker: Broker
    broker_url: str = field(repr=False)
    judge_url: str = field(repr=False)
    ca_file: str
    environment: Mapping[str, str] = field(repr=False)
    fetches: Callable[[], int]
    renews_in_place: bool = True
    links: Callable[[], Mapping[str, int]] = dict


@contextlib.contextmanager
def sandbox_site(
    *,
    broker: str,
    ttl: float,
    system: str = "oauth2",
    transport: TransportName,
    tls: bool,
    progress: Callable[[str], None],
) -> Iterator[Site]:
    """Bring up a sandbox and describe it.

    Args:
        broker: `3`, `4` or the path of an installation.
        ttl: Life of a token in seconds.
        system: Identity system that the credentials come from, a key of `SYSTEMS`.
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
    chosen = SYSTEMS[system]
    with (
        chosen.sandbox(broker, ttl) as sandbox,
        tempfile.TemporaryDirectory(prefix="mqauth-run-") as folder,
        chosen.signing_in(sandbox, ttl, Path(folder)) as sign_in,
    ):
        cache = {"MQAUTH_CACHE": str(Path(folder) / "cache")}
        environment = {**os.environ, **sandbox.environment(), **cache, **sign_in.environment}
        yield _describe(sandbox, chosen, sign_in, environment, transport=transport, tls=tls)


def forget_foreign_settings() -> None:
    """Take out of this process's environment what configures Celery, mqauth or a cloud.

    A run has settings of its own, and Celery prefers its variables to them.
    """
    for name in list(os.environ):
        foreign = name.startswith(("CELERY_", "MQAUTH_", "AWS_", "ALIBABA_CLOUD_"))
        if foreign and not name.startswith("MQAUTH_SANDBOX_"):
            del os.environ[name]


def _describe(
    sandbox: Sandbox,
    system: System,
    sign_in: SignIn,
    environment: dict[str, str],
    *,
    transport: TransportName,
    tls: bool,
) -> Site:
    broker, issuer = sandbox.broker, sandbox.issuer
    login = f"{broker.admin_user}:{broker.admin_password}"
    port = broker.amqps_port if tls else broker.amqp_port
    address = f"{broker.host}:{port}/"
    # Celery prefers this variable to its configuration.
    environment.pop("CELERY_BROKER_URL", None)
    match transport:
        case "plain":
            url = f"pyamqp://{login}@{address}"
        case "mqauth":
            url = f"{'mqauths' if tls else 'mqauth'}://{system.provider}@{address}"
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
        fetches=sign_in.fetches,
        renews_in_place=system.renews_in_place,
        links=sign_in.links,
    )
