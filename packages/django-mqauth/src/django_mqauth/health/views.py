"""django-health-check's view, whose OpenMetrics tell about credentials as well."""

from __future__ import annotations

from django.http import HttpResponse
from health_check import views

from django_mqauth.health.metrics import of_this_process, of_workers, text
from django_mqauth.health.worker_credentials import WorkerCredentials

_END = b"# EOF\n"


class HealthCheckView(views.HealthCheckView):
    """Performs health checks; `?format=openmetrics` adds time left, rotations and failures."""

    def render_to_response_openmetrics(self) -> HttpResponse:
        """Return the results and the figures."""
        response = super().render_to_response_openmetrics()
        samples = [*of_this_process()]
        for result in self.results:
            if isinstance(result.check, WorkerCredentials):
                samples += of_workers(result.check.answers.workers)
        response.content = response.content.removesuffix(_END) + text(samples).encode() + _END
        return response
