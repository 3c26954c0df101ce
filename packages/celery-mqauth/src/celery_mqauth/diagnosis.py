"""The chain from an app's configuration to everything that it does on its broker.

What `celery mqauth doctor` shows can be had here as values: `app_target` says what an app's
configuration names, and `diagnose_app` walks the chain; where an app reads from another broker than
it writes to, both chains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal, TypeVar

from celery_mqauth.app_connection import read_connection, write_connection
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
from mqauth.permissions.checks import DEFAULT_EXCHANGE
from mqauth.permissions.least import Use, least_scopes
from mqauth.permissions.operations import Operation, known_kind
from mqauth.permissions.resource_server import ResourceServer

_Name = TypeVar("_Name", str, str | None)
Side = Literal["read", "write"]
"""Which of an app's connections: those to `broker_read_url`, or to `broker_write_url`."""

DEFAULT_ROLES = ("worker", "producer")
_SCHEMES = ("mqauth", "mqauths")
_READ = "(read)"


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
    """Return who signs in where, as an app's configuration says: where it sends tasks.

    Raises:
        ConfigurationError: It does not sign in by mqauth, or its URL cannot be read.
    """
    return _described(write_connection(app))


def app_read_target(app: Any) -> AppTarget | None:
    """Return who signs in where to read, unless that is where the app sends tasks as well.

    Raises:
        ConfigurationError: It does not sign in by mqauth there, or the URL cannot be read.
    """
    if app_reads_where_it_writes(app):
        return None
    return _described(read_connection(app), "broker_read_url")


def app_reads_where_it_writes(app: Any) -> bool:
    """Tell whether an app's workers consume where it sends tasks, as the same user."""
    read, write = read_connection(app), write_connection(app)
    parts = ("transport_cls", "hostname", "port", "virtual_host", "userid", "alt")
    return all(getattr(read, part) == getattr(write, part) for part in parts)


def _described(connection: Any, url: str = "broker URL") -> AppTarget:
    scheme = str(connection.transport_cls or "")
    if scheme not in (*_SCHEMES, *KAFKA_PORTS):
        raise ConfigurationError(
            f"the app's {url} begins with {scheme}://, so mqauth does not sign it in",
            remedy="write it as mqauths://PROVIDER@HOST/VHOST (Kafka: mqauths-kafka://PROVIDER@HOST)",
        )
    if connection.password:
        raise ConfigurationError(
            f"the app's {url} holds a password",
            remedy="take it out: the part before @ only names who signs in",
        )
    auth = dict((connection.transport_options or {}).get(AUTH) or {})
    name = connection.userid or auth.pop("provider", "")
    if not name:
        raise ConfigurationError(
            f"the {url} does not say who signs in",
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
        What each link is like; only the last can be a broken one. Where the app reads from another
        broker than it writes to, the links to that follow, each with `(read)` behind its name.

    Raises:
        ConfigurationError: The app does not sign in by mqauth, or does so on Kafka, and `servers`
            are named.
    """
    where = app_target(app)
    if servers:
        refuse_conf(where.target)

    def walk(to: AppTarget, side: Side, began: Callable[[str], object]) -> Iterator[Finding]:
        uses = app_uses(
            app, to.target, roles=roles, worker=worker, queues=queues, sent=sent, side=side
        )
        yield from diagnose(
            to.name,
            options=to.options,
            target=to.target,
            **uses,
            servers=servers,
            timeout=timeout,
            started=began,
        )

    broken = False
    for finding in walk(where, "write", started):
        yield finding
        broken = bool(finding.code)
    if broken or where.target.kind == "kafka":
        return
    reading = app_read_target(app)
    if reading is not None:
        for finding in walk(reading, "read", lambda link: started(f"{link} {_READ}")):
            yield replace(finding, link=f"{finding.link} {_READ}")


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
    side: Side = "write",
) -> dict[str, Any]:
    """Return what an app's roles do on its broker, as keywords of `diagnose`.

    Args:
        app: A Celery app.
        target: Its broker.
        roles: The roles, as `celery mqauth scopes` names them.
        worker: How its workers are started.
        queues: The queues that its workers consume from, as with `celery worker -Q`.
        sent: Queues that tasks are sent to besides those that the configuration names.
        side: Over which connections, where those to read are to another broker.

    Raises:
        ConfigurationError: There is a role that cannot be played on such a broker.
    """
    if target.kind == "kafka":
        return {"topics": app_topics(app, roles=roles, queues=queues, sent=sent)}
    uses = _uses(app, side, roles=roles, worker=worker, queues=queues, sent=sent)
    scopes = [element.scope(target.vhost) for element in least_scopes(uses)]
    every = _uses(app, side, roles=(), worker=None, queues=queues, sent=sent)
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
    side: Side,
    *,
    roles: Sequence[str],
    worker: WorkerOptions | None,
    queues: Sequence[str],
    sent: Sequence[str],
) -> list[Use]:
    grants = role_grants(app, roles, options=worker, queues=queues, sent=sent)
    if app_reads_where_it_writes(app):
        return [use for grant in grants for use in grant.uses]
    return [use for grant in grants for use in (grant.reads if side == "read" else grant.writes)]


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
        found.append(
            Operation(
                kind=kind,
                vhost=use.vhost or vhost,
                queue=on.get("queue", ""),
                exchange=_as_given(on.get("exchange", "")),
                source=on.get("source", ""),
                destination=on.get("destination", ""),
                dead_letter=_as_given(on.get("dead_letter")),
                alternate=_as_given(on.get("alternate")),
                routing_key=keys[number % len(keys)],
                topic=use.key is not None,
            )
        )
    return found


def _as_given(name: _Name) -> _Name:
    """Return what an exchange is called where it is named: the default one has no name there."""
    return "" if name == DEFAULT_EXCHANGE else name
