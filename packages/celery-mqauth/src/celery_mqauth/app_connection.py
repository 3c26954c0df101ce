"""The connection that an app's configuration describes; nothing is connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mqauth.broker_url import check_parameters, unreadable
from mqauth.errors import ConfigurationError


def write_connection(app: Any) -> Any:
    """Return the Kombu connection that a Celery app sends tasks over, not yet open.

    Args:
        app: A Celery app.

    Raises:
        ConfigurationError: Kombu cannot read its broker URL, knows no such transport or parameter,
            or lacks what the transport needs.
    """
    return _described(str(app.conf.broker_write_url), app.connection_for_write)


def read_connection(app: Any) -> Any:
    """Return the Kombu connection that a Celery app's workers consume from, not yet open.

    Args:
        app: A Celery app.

    Raises:
        ConfigurationError: As with `write_connection`.
    """
    return _described(str(app.conf.broker_read_url), app.connection_for_read)


def _described(url: str, connection: Callable[[], Any]) -> Any:
    try:
        return connection()
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
    except (
        ImportError,
        AttributeError,
    ) as error:  # some modules of Kombu's stumble over what lacks
        scheme = url.partition("://")[0][:40]
        raise ConfigurationError(
            f"the app's broker URL begins with {scheme}://, and what Kombu needs for that cannot "
            f"be loaded: {error}",
            remedy="install the transport's library, such as celery[redis], or name RabbitMQ: "
            "mqauths://PROVIDER@HOST/VHOST",
        ) from None
