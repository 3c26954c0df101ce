"""Three endpoints, for who asks: `path("health/", include("django_mqauth.health.urls"))`.

- `node`: this process can go on by itself (an orchestrator's liveness probe)
- `application`: it can do its work (a readiness probe, a load balancer)
- `pipeline`: what it hands on is worked at (monitoring and its alerts, never a probe)
"""

from __future__ import annotations

from django.urls import path

from django_mqauth.health.views import HealthCheckView

_HERE = "django_mqauth.health."
NODE = (f"{_HERE}CredentialFreshness",)
APPLICATION = (*NODE, f"{_HERE}BrokerLogin")
PIPELINE = (*APPLICATION, f"{_HERE}WorkerCredentials")

app_name = "mqauth_health"
urlpatterns = [
    path("node/", HealthCheckView.as_view(checks=NODE), name="node"),
    path("application/", HealthCheckView.as_view(checks=APPLICATION), name="application"),
    path("pipeline/", HealthCheckView.as_view(checks=PIPELINE), name="pipeline"),
]
