"""The least grants of an app, and how its present credential compares with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celery_mqauth.app_connection import write_connection
from celery_mqauth.endpoints import source_for
from celery_mqauth.least.app_names import names_of
from celery_mqauth.least.destinations import destinations
from celery_mqauth.least.roles import ROLES, WorkerOptions, uses_of
from mqauth.credentials import BrokerCredentials
from mqauth.errors import ConfigurationError
from mqauth.permissions.least import Element, Use, least_expressions, least_scopes


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleGrant:
    """What one role needs.

    Attributes:
        role: Its name.
        title: What it is.
        vhost: The virtual host; where it sends to, if it reads from another.
        uses: What it does on the broker.
        reads: Those of the uses that come over connections to `broker_read_url`.
        scopes: The least elements of OAuth 2 scopes.
        expressions: The least elements of regular expressions.
    """

    role: str
    title: str
    vhost: str
    uses: tuple[Use, ...]
    reads: tuple[Use, ...]
    scopes: tuple[Element, ...]
    expressions: tuple[Element, ...]

    @property
    def writes(self) -> tuple[Use, ...]:
        """The uses that come over connections to `broker_write_url`."""
        return self.uses[len(self.reads) :]

    @property
    def vhosts(self) -> tuple[str, ...]:
        """All its virtual hosts, that which it sends to first."""
        return tuple(dict.fromkeys((self.vhost, *(use.vhost or self.vhost for use in self.uses))))

    def expressions_in(self, vhost: str) -> tuple[Element, ...]:
        """Return the least elements of regular expressions in one of its virtual hosts."""
        return tuple(each for each in self.expressions if (each.vhost or self.vhost) == vhost)


def role_grants(
    app: Any,
    roles: Sequence[str] = (),
    *,
    options: WorkerOptions | None = None,
    queues: Sequence[str] = (),
    sent: Sequence[str] = (),
) -> tuple[RoleGrant, ...]:
    """Return the least grants of an app, role by role.

    Args:
        app: A Celery app, whose configuration says all.
        roles: The roles that are wanted; by default all that the app has a use for.
        options: How its workers are started.
        queues: The queues that its workers consume from, as with `celery worker -Q`.
        sent: Queues that tasks are sent to besides those that the configuration names, as with
            `apply_async(queue=...)`.

    Raises:
        ConfigurationError: There is no such queue, or the app's tasks cannot be imported.
    """
    names = names_of(app, consumed=queues, sent=sent)
    found = []
    for role in roles or ROLES:
        done = uses_of(role, names, options)
        uses = (*done.reads, *done.writes)
        if uses:
            found.append(
                RoleGrant(
                    role=role,
                    title=ROLES[role].title,
                    vhost=names.vhost,
                    uses=uses,
                    reads=done.reads,
                    scopes=least_scopes(uses),
                    expressions=least_expressions(uses),
                )
            )
    return tuple(found)


def not_counted(app: Any) -> tuple[str, ...]:
    """Return what no look at an app tells of where its tasks go, in sentences.

    Args:
        app: A Celery app.
    """
    return destinations(app).notes


def present_credentials(app: Any) -> BrokerCredentials:
    """Return the credential that an app signs in with.

    Raises:
        ConfigurationError: The app does not sign in by mqauth.
        MQAuthError: It cannot be had.
    """
    connection = write_connection(app)
    if not str(connection.transport_cls or "").startswith("mqauth"):
        raise ConfigurationError(
            "the app does not sign in by mqauth, so there is no token to compare with",
            remedy="give --token, or --configure, --write and --read as the broker lists them",
        )
    return source_for(connection).source.get()
