"""The chain from an app's configuration to everything that it does on its broker.

What `celery mqauth doctor` shows can be had here as values: `app_target` says what an app's
configuration names, and `diagnose_app` walks the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from celery_mqauth.endpoints import AUTH
from celery_mqauth.least.grants import role_grants
from celery_mqauth.least.roles import WorkerOptions
from mqauth.diagnosis.findings import Finding
from mqauth.diagnosis.target import Target
from mqauth.diagnosis.walk import TIMEOUT, diagnose
from mqauth.errors import ConfigurationError
from mqauth.permissions.least import Use
from mqauth.permissions.operations import Operation, known_kind
from mqauth.permissions.resource_server import ResourceServer

DEFAULT_ROLES = ("worker", "producer")
_SCHEMES = ("mqauth", "mqauths")


@dataclass(frozen=True, kw_only=True, slots=True)
class AppTarget:
    """Who signs in where, as an app's configuration says.

    Attributes:
        name: The provider or the named entry.
        options: Options of the provider and settings of the source.
        target: The broker.
    """

    name: str
    options: Mapping[str, Any]
    target: Target


def app_target(app: Any) -> AppTarget:
    """Return who signs in where, as an app's configuration says.

    Raises:
        ConfigurationError: It does not sign in by mqauth.
    """
    connection = app.connection_for_write()
    scheme = str(connection.transport_cls or "")
    if scheme not in _SCHEMES:
        raise ConfigurationError(
            f"the app's broker URL begins with {scheme}://, so mqauth does not sign it in",
            remedy="write it as mqauths://PROVIDER@HOST/VHOST",
        )
    auth = dict((connection.transport_options or {}).get(AUTH) or {})
    name = connection.userid or auth.pop("provider", "")
    if not name:
        raise ConfigurationError(
            "the broker URL does not say who signs in",
            remedy="put a provider before the host, as in mqauths://oauth2@host/vhost",
        )
    tls = scheme.endswith("s")
    given = connection.ssl if isinstance(connection.ssl, Mapping) else {}
    return AppTarget(
        name=str(name),
        options=auth,
        target=Target(
            host=str(connection.hostname or "localhost"),
            port=int(connection.port or (5671 if tls else 5672)),
            vhost=str(connection.virtual_host or "/"),
            tls=tls,
            user=str(name),
            ca_file=given.get("ca_certs"),
        ),
    )


def diagnose_app(
    app: Any,
    *,
    roles: Sequence[str] = DEFAULT_ROLES,
    worker: WorkerOptions | None = None,
    queues: Sequence[str] = (),
    sent: Sequence[str] = (),
    servers: Sequence[ResourceServer] = (),
    timeout: float = TIMEOUT,
    started: Callable[[str], object] = str,
) -> Iterator[Finding]:
    """Walk the chain from an app's configuration to everything that its roles do on the broker.

    Args:
        app: A Celery app.
        roles: What is to be tried, as `celery mqauth scopes` names roles.
        worker: How its workers are started.
        queues: The queues that its workers consume from, as with `celery worker -Q`.
        sent: Queues that tasks are sent to besides those that the configuration names.
        servers: What the broker is told about OAuth 2, where that is known.
        timeout: Seconds that one step may take.
        started: Called with the name of each link before it is looked at.

    Yields:
        What each link is like; only the last can be a broken one.

    Raises:
        ConfigurationError: The app does not sign in by mqauth.
    """
    where = app_target(app)
    yield from diagnose(
        where.name,
        options=where.options,
        target=where.target,
        operations=app_operations(
            app, where.target.vhost, roles=roles, worker=worker, queues=queues, sent=sent
        ),
        servers=servers,
        timeout=timeout,
        started=started,
    )


def app_operations(
    app: Any,
    vhost: str,
    *,
    roles: Sequence[str] = DEFAULT_ROLES,
    worker: WorkerOptions | None = None,
    queues: Sequence[str] = (),
    sent: Sequence[str] = (),
) -> list[Operation]:
    """Return everything that an app's roles do on a virtual host.

    Args:
        app: A Celery app.
        vhost: The virtual host.
        roles: The roles, as `celery mqauth scopes` names them.
        worker: How its workers are started.
        queues: The queues that its workers consume from, as with `celery worker -Q`.
        sent: Queues that tasks are sent to besides those that the configuration names.
    """
    grants = role_grants(app, roles, options=worker, queues=queues, sent=sent)
    return operations_of([use for grant in grants for use in grant.uses], vhost)


def operations_of(uses: Sequence[Use], vhost: str) -> list[Operation]:
    """Return operations to try, on a name of each family."""
    found = []
    for use in uses:
        kind = known_kind(use.operation)
        keys = use.key.samples if use.key is not None else ("",)
        roles, patterns = [role for role, _ in use.on], [pattern for _, pattern in use.on]
        for names, key in product(
            product(*(pattern.samples[:1] for pattern in patterns)), keys[:1]
        ):
            on = dict(zip(roles, names, strict=True))
            exchange = on.get("exchange", "")
            found.append(
                Operation(
                    kind=kind,
                    vhost=vhost,
                    queue=on.get("queue", ""),
                    exchange="" if exchange == "amq.default" else exchange,
                    source=on.get("source", ""),
                    destination=on.get("destination", ""),
                    dead_letter=on.get("dead_letter", ""),
                    alternate=on.get("alternate", ""),
                    routing_key=key,
                    topic=use.key is not None,
                )
            )
    return list(dict.fromkeys(found))
