"""The proxy that the environment names, looked at before the issuer is blamed for it."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlsplit

import requests.utils
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from mqauth.errors import ConfigurationError

_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def check_proxy(url: str, what: str) -> None:
    """Check the proxy that requests to `url` go through, if they do; nothing of it is quoted.

    Args:
        url: What is going to be asked.
        what: Whose URL that is, for error messages.

    Raises:
        ConfigurationError: It is no URL of a proxy that requests can use.
    """
    proxies = requests.utils.get_environ_proxies(url)
    proxy = requests.utils.select_proxy(url, proxies)
    if proxy is None:
        return
    scheme = urlsplit(url).scheme
    variable = f"{scheme.upper()}_PROXY" if scheme in proxies else "ALL_PROXY"
    named = f"the proxy that {variable} names for {what}"
    kind = _scheme(proxy)
    if kind not in _SCHEMES:
        raise ConfigurationError(
            f"{named} is no usable URL",
            remedy=f"write {variable} as http://host:port, or name the host in NO_PROXY",
        )
    if kind.startswith("socks") and find_spec("socks") is None:
        raise ConfigurationError(
            f"{named} speaks SOCKS, for which PySocks is not installed",
            remedy='pip install "requests[socks]"',
        )


def _scheme(proxy: str) -> str | None:
    """Return the scheme of a proxy's URL, as requests reads it; None where it is no URL."""
    try:
        # Of a host without dots and its port it takes the host for the scheme, as requests does.
        parts = parse_url(proxy)
    except (LocationParseError, ValueError):
        return None
    return (parts.scheme or "http") if parts.host else None
