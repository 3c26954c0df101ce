"""RabbitMQ's management API, by the same short-lived credential as AMQP.

`ManagementClient` asks what health checks and diagnoses need; it changes nothing on the broker.
"""

from mqauth.management.client import ManagementClient
from mqauth.management.facts import Overview, Permission, QueueFacts, WhoAmI

__all__ = ["ManagementClient", "Overview", "Permission", "QueueFacts", "WhoAmI"]
