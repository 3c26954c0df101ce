"""The aliases of `MQAUTH` as named entries of the core, found by the entry point.

So `mqauths://default@host/vhost` means the same in every process that has Django's settings, be it
a web server, a worker, or `celery inspect`, which never starts Django.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def named_entries() -> Mapping[str, Mapping[str, Any]]:
    """Return all aliases; none in a process that has nothing to do with Django.

    Raises:
        ConfigurationError: `MQAUTH` is no dict of dicts.
    """
    module = sys.modules.get("django.conf")
    if module is None or not module.settings.configured:
        return {}
    from django_mqauth.conf import entry_of, raw_aliases  # noqa: PLC0415 - Django is there

    # What is misshapen is the system checks' to tell, and must not harm the other aliases.
    return {
        name: entry_of(entry)
        for name, entry in raw_aliases().items()
        if isinstance(name, str)
        and isinstance(entry, Mapping)
        and isinstance(entry.get("OPTIONS") or {}, Mapping)
    }
