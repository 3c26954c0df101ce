"""ACLs of a Kafka broker that allows nothing without; the client comes with the extra `kafka`."""

from __future__ import annotations

import time

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from mqauth_sandbox.kafka.sandbox import KafkaSandbox

_LIMIT = 20.0
_POLL = 0.05


def allow(
    kafka: KafkaSandbox,
    name: str,
    *operations: AclOperation,
    of: ResourceType = ResourceType.TOPIC,
) -> None:
    """Allow the issuer's client operations on a topic, or on a resource of another kind.

    Args:
        kafka: A running sandbox that was made with `acls=True`.
        name: The resource's name, which is taken literally.
        operations: What to allow.
        of: What kind of resource it is.

    Raises:
        KafkaException: The broker did not take an ACL.
    """
    principal = f"User:{kafka.issuer.client_id}"
    acls = [
        AclBinding(
            of, name, ResourcePatternType.LITERAL, principal, "*", one, AclPermissionType.ALLOW
        )
        for one in operations
    ]
    with AdminClient({**kafka.broker.admin_config}) as admin:
        for made in admin.create_acls(acls).values():
            made.result(_LIMIT)
        deadline = time.monotonic() + _LIMIT
        while not all(_holds(admin, one) for one in acls) and time.monotonic() < deadline:
            time.sleep(_POLL)


def _holds(admin: AdminClient, acl: AclBinding) -> bool:
    """Return whether the broker goes by an ACL: it learns of one after the controller has it."""
    that = AclBindingFilter(
        acl.restype,
        acl.name,
        acl.resource_pattern_type,
        acl.principal,
        acl.host,
        acl.operation,
        acl.permission_type,
    )
    return bool(admin.describe_acls(that).result(_LIMIT))
