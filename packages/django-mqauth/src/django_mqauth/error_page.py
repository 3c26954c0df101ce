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
        if isinstance(cleansed, set | frozenset):
            return type(cleansed)(self.cleanse_setting(key, each) for each in cleansed)
        if type(cleansed) is bytes:
            return _masked(cleansed.decode("latin-1")).encode("latin-1")
        # What is of another kind, such as the URLs that are hidden where they stand, shows itself.
        return _masked(cleansed) if type(cleansed) is str else cleansed


def _masked(text: str) -> str:
    """Return a text with the logins of the URLs in it masked, whatever stands around them."""
    found = _URL.search(text)
    if found is None or not holds_password(text[found.start() :]):
        return text
    return text[: found.start()] + masked(text[found.start() :])
