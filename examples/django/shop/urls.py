"""URLs: the page of orders, the admin with the status page, three health endpoints.

The health endpoints ask for no login, since probes have none. So they stand under a path that
nobody guesses, which is how django-health-check guards its own; without one they are not there.
"""

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("orders.urls")),
    *staticfiles_urlpatterns(),
]
if settings.HEALTH_CHECK_SECRET:
    health = path(f"health/{settings.HEALTH_CHECK_SECRET}/", include("django_mqauth.health.urls"))
    urlpatterns.append(health)
