"""The status page in the admin, at `/admin/mqauth/`, for staff with `mqauth.view_credential`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers

from django_mqauth import conf
from django_mqauth.models import Credential
from django_mqauth.status import process, workers


@admin.register(Credential)
class CredentialAdmin(admin.ModelAdmin):
    """Shows a page instead of a list of rows: there are none."""

    def get_urls(self) -> list[URLPattern]:
        """Return the page and the two documents behind it."""
        guarded = self.admin_site.admin_view
        return [
            path("", guarded(self.changelist_view), name="mqauth_credential_changelist"),
            path("process/", guarded(self._process), name="mqauth_credential_process"),
            path("workers/", guarded(self._workers), name="mqauth_credential_workers"),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the page, which is the app's own in the admin."""
        self._check(request)
        site = self.admin_site.name
        return redirect(reverse("admin:app_list", args=("mqauth",), current_app=site))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: nothing is stored."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: nothing is stored."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: nothing is stored."""
        return False

    def _process(self, request: HttpRequest) -> HttpResponse:
        return self._json(request, process.report)

    def _workers(self, request: HttpRequest) -> HttpResponse:
        number = request.GET.get("page", "1")
        return self._json(
            request,
            lambda: workers.report(
                page=int(number) if number.isdecimal() and len(number) < 9 else 1,
                search=request.GET.get("search", "")[:255],
                state=request.GET.get("state", "")[:20],
            ),
        )

    def _json(self, request: HttpRequest, make: Callable[[], dict[str, Any]]) -> HttpResponse:
        self._check(request)
        answer = JsonResponse({**make(), "refresh": float(conf.option("ADMIN_REFRESH"))})
        add_never_cache_headers(answer)
        return answer

    def _check(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied
