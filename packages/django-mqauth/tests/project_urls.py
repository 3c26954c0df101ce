"""URLs of the Django project of these tests."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

import django_mqauth
from django_mqauth import conf
from django_mqauth.health import HealthCheckView
from django_mqauth.health.urls import NODE


def defect(request: HttpRequest) -> HttpResponse:
    """Fail with a credential within reach."""
    options = dict(conf.alias("default").options)
    credentials = django_mqauth.source().get()
    raise RuntimeError(f"a defect with {len(options)} options of {credentials.provider}")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("health/", include("django_mqauth.health.urls")),
    path("staff/health/", staff_member_required(HealthCheckView.as_view(checks=NODE))),
    path("defect/", defect),
]
