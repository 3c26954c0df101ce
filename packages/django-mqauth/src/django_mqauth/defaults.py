"""What counts where the settings say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DEFAULT_ALIAS: Final = "default"

CELERY_NAMESPACE: Final = "CELERY"
"""Prefix of the settings that Celery reads."""

ADMIN_REFRESH: Final = 2.0
"""Seconds between two looks of the status page."""

ADMIN_TIMEOUT: Final = 1.5
"""Seconds that the status page waits for workers."""

WORKERS_MISSED: Final = 600.0
"""Seconds for which a worker is named that may have ended, or have been frozen for long."""

ADMIN_PAGE_SIZE: Final = 50
"""Workers on one page of it."""

CONNECT_TIMEOUT: Final = 10.0
"""Seconds that `connections` give a broker to let them in."""

TRANSPORT_OPTIONS: Final[Mapping[str, Any]] = {"confirm_publish": True}
"""Without confirms, what is on its way when a link breaks is lost in silence."""
