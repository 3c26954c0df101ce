"""No table: a name for the status page in the admin, and a permission to look at it."""

from __future__ import annotations

from django.db import models


class Credential(models.Model):
    """Stands for the page; `mqauth.view_credential` is the permission to see it."""

    class Meta:
        """Never stored; looked at only."""

        managed = False
        default_permissions = ("view",)
        verbose_name = "broker credential"
        verbose_name_plural = "broker credentials"

    def __str__(self) -> str:
        """Return what it stands for."""
        return "broker credentials"
