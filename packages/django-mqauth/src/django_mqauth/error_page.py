"""What Django's error page shows of the environment and the settings, passwords in URLs left out.

`runserver` hands the whole environment on to each request, `CELERY_BROKER_URL` included. Django
hides what has a name that sounds secret, and a URL has none.
"""

from __future__ import annotations

from typing import Any

from django.views.debug import SafeExceptionReporterFilter

from django_mqauth.broker_address import masked_within


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
            return masked_within(cleansed.decode("latin-1")).encode("latin-1")
        # What is of another kind, such as the URLs that are hidden where they stand, shows itself.
        return masked_within(cleansed) if type(cleansed) is str else cleansed
