"""Where a secret may be sent."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from mqauth.errors import ConfigurationError, InsecureTransportError
from mqauth.host_names import is_host_name


def check_url(url: str, what: str, *, insecure: bool = False) -> str:
    """Return `url` if a secret may be sent there.

    Args:
        url: An absolute URL.
        what: What it is, for error messages.
        insecure: Whether the user allows plain HTTP to another host.

    Raises:
        InsecureTransportError: It is plain HTTP to a host that is not loopback.
        ConfigurationError: It is no absolute HTTP URL, or holds a user name or password.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("http", "https") or _has_blanks(url):
        raise ConfigurationError(
            f"{what} is no absolute URL", remedy="write it as https://host/path"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"{what} holds a user name or password, which would end up in logs",
            remedy="give them as options of the provider",
        )
    if not is_host_name(host):
        raise ConfigurationError(
            f"the host in {what} is no host name: a part between its dots is empty, longer than 63 "
            "characters, or not to be encoded",
            remedy="write it as https://host/path",
        )
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        raise InsecureTransportError(
            f"{what} is plain HTTP to {host}: everybody on the way could read the credential",
            remedy="use https://",
        )
    return url


def is_loopback(host: str) -> bool:
    """Return whether a host name or address never leaves this host."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _has_blanks(url: str) -> bool:
    return any(char.isspace() or not char.isprintable() for char in url)
