"""What AMQP's handshake has room for; py-amqp fails on more than that while it packs a frame."""

from __future__ import annotations

from typing import Any

from mqauth.errors import ConfigurationError
from mqauth.secret import encodable

LONGEST_VIRTUAL_HOST = 255
"""Bytes of a short string (AMQP 0-9-1, section 4.2.5.3)."""
LONGEST_HEARTBEAT = 65535
"""Seconds that a short integer holds (method `connection.tune-ok`)."""


def check_virtual_host(name: str) -> None:
    """Refuse the name of a virtual host that cannot be sent.

    Raises:
        ConfigurationError: It is too long, or UTF-8 cannot write it.
    """
    if not encodable(name):
        problem = "holds characters that UTF-8 cannot write"
    elif (size := len(name.encode())) > LONGEST_VIRTUAL_HOST:
        problem = f"has {size} bytes, and no virtual host more than {LONGEST_VIRTUAL_HOST}"
    else:
        return
    raise ConfigurationError(
        f"the name of the virtual host in the broker URL {problem}",
        remedy="name an existing virtual host in the URL",
    )


def check_heartbeat(seconds: Any) -> None:
    """Refuse an interval that cannot be sent.

    Args:
        seconds: What the user wrote; None or 0 for no heartbeats.

    Raises:
        ConfigurationError: It is no number of seconds, negative or too long.
    """
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is None or (number and 0 <= seconds <= LONGEST_HEARTBEAT):
        return
    raise ConfigurationError(
        f"the heartbeat of the broker connection is {str(seconds)[:60]!r}",
        remedy=f"give seconds: 0 for none, at most {LONGEST_HEARTBEAT}",
    )
