"""The least grants of an app, and how its present credential compares with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from celery_mqauth.endpoints import source_for
from celery_mqauth.least.app_names import AppNames, names_of
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
        vhost: The virtual host.
        uses: What it does on the broker.
        scopes: The least elements of OAuth 2 scopes.
        expressions: The least elements of regular expressions.
    """

    role: str
    title: str
    vhost: str
    uses: tuple[Use, ...]
    scopes: tuple[Element, ...]
    expressions: tuple[Element, ...]


def role_grants(
    app: Any,
    roles: Sequence[str] = (),
    *,
    options: WorkerOptions | None = None,
    queues: Sequence[str] = (),
) -> tuple[RoleGrant, ...]:
    """Return the least grants of an app, role by role.

    Args:
        app: A Celery app, whose configuration says all.
        roles: The roles that are wanted; by default all that the app has a use for.
        options: How its workers are started.
        queues: The queues that its workers consume from, as with `celery worker -Q`.

    Raises:
        ConfigurationError: There is no such queue.
    """
    names = _only(names_of(app), queues)
    found = []
    for role in roles or ROLES:
        uses = uses_of(role, names, options)
        if uses:
            found.append(
                RoleGrant(
                    role=role,
                    title=ROLES[role].title,
                    vhost=names.vhost,
                    uses=uses,
                    scopes=least_scopes(uses),
                    expressions=least_expressions(uses),
                )
            )
    return tuple(found)


def present_credentials(app: Any) -> BrokerCredentials:
    """Return the credential that an app signs in with.

    Raises:
        ConfigurationError: The app does not sign in by mqauth.
        MQAuthError: It cannot be had.
    """
    connection = app.connection_for_write()
    if not str(connection.transport_cls or "").startswith("mqauth"):
        raise ConfigurationError(
            "the app does not sign in by mqauth, so there is no token to compare with",
            remedy="give --token, or --configure, --write and --read as the broker lists them",
        )
    return source_for(connection).source.get()


def _only(names: AppNames, queues: Sequence[str]) -> AppNames:
    if not queues:
        return names
    known = {str(queue.name): queue for queue in names.queues}
    unknown = [name for name in queues if name not in known]
    if unknown:
        raise ConfigurationError(
            f"the app has no queue {unknown[0]!r}", remedy=f"it has {', '.join(sorted(known))}"
        )
    return replace(names, queues=tuple(known[name] for name in queues))
