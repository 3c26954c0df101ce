"""The chain from an app's configuration to everything that it does on its broker.

What `celery mqauth doctor` shows can be had here as values: `app_target` says what an app's
configuration names, and `diagnose_app` walks the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from celery_mqauth.app_connection import write_connection
from celery_mqauth.endpoints import AUTH
from celery_mqauth.kafka.endpoints import addresses_of
from celery_mqauth.least.grants import role_grants
from celery_mqauth.least.roles import WorkerOptions
from celery_mqauth.least.topics import app_topics
from celery_mqauth.misspelt_options import amqp_options, warn_of_misspelt
from mqauth.diagnosis.findings import Finding
from mqauth.diagnosis.probes import undeclared
from mqauth.diagnosis.target import KAFKA_PORTS, Target
from mqauth.diagnosis.walk import TIMEOUT, diagnose
from mqauth.errors import ConfigurationError
from mqauth.permissions.least import Use, least_scopes
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
    options: Mapping[str, Any] = field(repr=False)
    target: Target


def app_target(app: Any) -> AppTarget:
    """Return who signs in where, as an app's configuration says.

    Raises:
        ConfigurationError: It does not sign in by mqauth, or its URL cannot be read.
    """
    connection = write_connection(app)
    scheme = str(connection.transport_cls or "")
    if scheme not in (*_SCHEMES, *KAFKA_PORTS):
        raise ConfigurationError(
            f"the app's broker URL begins with {scheme}://, so mqauth does not sign it in",
            remedy="write it as mqauths://PROVIDER@HOST/VHOST (Kafka: mqauths-kafka://PROVIDER@HOST)",
        )
    if connection.password:
        raise ConfigurationError(
            "the app's broker URL holds a password",
            remedy="take it out: the part before @ only names who signs in",
        )
    auth = dict((connection.transport_options or {}).get(AUTH) or {})
    name = connection.userid or auth.pop("provider", "")
    if not name:
        raise ConfigurationError(
            "the broker URL does not say who signs in",
            remedy="put a provider before the host, as in mqauths://oauth2@host/vhost",
        )
    given = connection.ssl if isinstance(connection.ssl, Mapping) else {}
    if scheme in KAFKA_PORTS:
        return AppTarget(
            name=str(name), options=auth, target=_kafka(connection, scheme, str(name), given)
        )
    warn_of_misspelt(connection.transport_options, amqp_options())
    tls = scheme.endswith("s")
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


def _kafka(connection: Any, scheme: str, name: str, given: Mapping[str, Any]) -> Target:
    servers = tuple(addresses_of(connection, KAFKA_PORTS[scheme]))
    options = connection.transport_options or {}
    return Target(
        host=servers[0][0],
        port=servers[0][1],
        tls=scheme.startswith("mqauths"),
        user=name,
        kind="kafka",
        servers=servers,
        ssl=given,
        client={key: value for key, value in options.items() if key != AUTH},
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
        ConfigurationError: The app does not sign in by mqauth, or does so on Kafka, and `servers`
            are named.
    """
    where = app_target(app)
    if servers:
        refuse_conf(where.target)
    yield from diagnose(
        where.name,
        options=where.options,
        target=where.target,
        **app_uses(app, where.target, roles=roles, worker=worker, queues=queues, sent=sent),
        servers=servers,
        timeout=timeout,
        started=started,
    )


def refuse_conf(target: Target) -> None:
    """Refuse RabbitMQ's configuration where the broker is none.

    Raises:
        ConfigurationError: It is Kafka.
    """
    if target.kind == "kafka":
        raise ConfigurationError(
            "the app's broker is Kafka, and --conf is about RabbitMQ", remedy="leave --conf out"
        )


def app_uses(
    app: Any,
    target: Target,
    *,
    roles: Sequence[str] = DEFAULT_ROLES,
    worker: WorkerOptions | None = None,
    queues: Sequence[str] = (),
    sent: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what an app's roles do on its broker, as keywords of `diagnose`.

    Args:
        app: A Celery app.
        target: Its broker.
        roles: The roles, as `celery mqauth scopes` names them.
        worker: How its workers are started.
        queues: The queues that its workers consume from, as with `celery worker -Q`.
        sent: Queues that tasks are sent to besides those that the configuration names.

    Raises:
        ConfigurationError: There is a role that cannot be played on such a broker.
    """
    if target.kind == "kafka":
        return {"topics": app_topics(app, roles=roles, queues=queues, sent=sent)}
    uses = _uses(app, roles=roles, worker=worker, queues=queues, sent=sent)
    scopes = [element.scope(target.vhost) for element in least_scopes(uses)]
    every = _uses(app, roles=(), worker=None, queues=queues, sent=sent)
    return {
        "operations": operations_of(uses, target.vhost),
        "scopes": scopes,
        "needed": _declared_by_nobody(uses, every, target.vhost),
    }


def _declared_by_nobody(uses: Sequence[Use], every: Sequence[Use], vhost: str) -> list[Operation]:
    """Return passive declarations of what is used, and what no role of the app declares.

    Other roles declare some of it before: a worker what tasks for later go to, say. Names that
    nobody knows yet cannot be looked for.
    """
    made = [
        (kind, pattern)
        for use in every
        for kind, pattern in use.on
        if use.operation.startswith(f"{kind}.declare")
    ]
    exact = [use for use in uses if all(pattern.exact for _, pattern in use.on)]
    return [
        each
        for each in undeclared(operations_of(exact, vhost))
        if not any(
            pattern.matches(each.queue if kind == "queue" else each.exchange)
            for kind, pattern in made
            if each.kind.name.startswith(kind)
        )
    ]


def _uses(
    app: Any,
    *,
    roles: Sequence[str],
    worker: WorkerOptions | None,
    queues: Sequence[str],
    sent: Sequence[str],
) -> list[Use]:
    grants = role_grants(app, roles, options=worker, queues=queues, sent=sent)
    return [use for grant in grants for use in grant.uses]


def operations_of(uses: Sequence[Use], vhost: str) -> list[Operation]:
    """Return operations to try, on several names of each family: first one of each, then more."""
    tried = [_tries(use, vhost) for use in uses]
    first = [operation for found in tried for operation in found[:1]]
    return list(dict.fromkeys(chain(first, *tried)))


def _tries(use: Use, vhost: str) -> list[Operation]:
    kind = known_kind(use.operation)
    names = {role: pattern.few_samples for role, pattern in use.on}
    keys = use.key.few_samples if use.key is not None else ("",)
    found = []
    for number in range(max(map(len, (keys, *names.values())))):
        on = {role: samples[number % len(samples)] for role, samples in names.items()}
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
                routing_key=keys[number % len(keys)],
                topic=use.key is not None,
            )
        )
    return found
