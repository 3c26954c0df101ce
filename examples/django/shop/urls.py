"""URLs: the page of orders, the admin with the status page, three health endpoints."""

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health/", include("django_mqauth.health.urls")),
    path("", include("orders.urls")),
    *staticfiles_urlpatterns(),
]
