"""The connection that an app's configuration describes; nothing is connected."""

from __future__ import annotations

from typing import Any

from mqauth.broker_url import check_parameters, unreadable
from mqauth.errors import ConfigurationError


def write_connection(app: Any) -> Any:
    """Return the Kombu connection that a Celery app sends tasks over, not yet open.

    Args:
        app: A Celery app.

    Raises:
        ConfigurationError: Kombu cannot read its broker URL, or knows no such transport or
            parameter.
    """
    url = str(app.conf.broker_write_url)
    try:
        return app.connection_for_write()
    except ValueError:  # its text repeats what may be part of a password
        raise unreadable(url) from None
    except TypeError:  # Kombu has no such parameter
        check_parameters(url.partition("?")[2])
        raise
    except KeyError:
        scheme = url.partition("://")[0][:40]
        raise ConfigurationError(
            f"the app's broker URL begins with {scheme}://, and Kombu knows no such transport",
            remedy="write it as mqauths://PROVIDER@HOST/VHOST (Kafka: mqauths-kafka://PROVIDER@HOST)",
        ) from None
