"""Health checks for django-health-check (`pip install "django-mqauth[health]"`).

- `CredentialFreshness`: enough is left of this process' credential; asks nobody while it is
- `BrokerLogin`: a real login, and a message published and consumed on a queue of its own
- `WorkerCredentials`: every worker's rotation state; names the one that is silent or idle
- `HealthCheckView`: django-health-check's view, with figures about credentials in OpenMetrics
"""

from __future__ import annotations

from django_mqauth.health.broker_login import BrokerLogin
from django_mqauth.health.freshness import CredentialFreshness
from django_mqauth.health.views import HealthCheckView
from django_mqauth.health.worker_credentials import WorkerCredentials

__all__ = ["BrokerLogin", "CredentialFreshness", "HealthCheckView", "WorkerCredentials"]
