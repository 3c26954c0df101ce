"""No table: a name for the status page in the admin, and a permission to look at it."""

from __future__ import annotations

from typing import Any

from django.db import models


class NoRows(models.Manager):
    """Finds nothing, and looks into no table: `dumpdata` asks every model for its rows."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """Return no rows."""
        return super().get_queryset().none()


class Credential(models.Model):
    """Stands for the page; `mqauth.view_credential` is the permission to see it."""

    objects = NoRows()

    class Meta:
        """Never stored; looked at only."""

        managed = False
        base_manager_name = "objects"
        default_permissions = ("view",)
        verbose_name = "broker credential"
        verbose_name_plural = "broker credentials"

    def __str__(self) -> str:
        """Return what it stands for."""
        return "broker credentials"
