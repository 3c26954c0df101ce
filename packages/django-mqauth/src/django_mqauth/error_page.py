"""What Django's error page shows of the environment and the settings, passwords in URLs left out.

`runserver` hands the whole environment on to each request, `CELERY_BROKER_URL` included. Django
hides what has a name that sounds secret, and a URL has none.
"""

from __future__ import annotations

import re
from typing import Any

from django.views.debug import SafeExceptionReporterFilter

from django_mqauth.broker_address import holds_password, masked

_URL = re.compile(r"[\w.+-]+://")


class URLReporterFilter(SafeExceptionReporterFilter):
    """Django's own filter, which hides passwords in URLs as well.

    Settings whose `DEFAULT_EXCEPTION_REPORTER_FILTER` is Django's get this one instead.
    """

    def cleanse_setting(self, key: str, value: Any) -> Any:
        """Return a value as it may be shown."""
        cleansed = super().cleanse_setting(key, value)
        # What is of another kind, such as the URLs that are hidden where they stand, shows itself.
        if type(cleansed) is str and _URL.match(cleansed) and holds_password(cleansed):
            return masked(cleansed)
        return cleansed
