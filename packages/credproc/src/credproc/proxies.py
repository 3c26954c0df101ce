"""Which proxy to use: with `--with-proxy` what the environment names, else none.

The rules of the official helper (Go's): HTTPS_PROXY or https_proxy, NO_PROXY, and never a proxy for
a loopback host.
"""

from __future__ import annotations

from credproc.endpoint import Endpoint, is_loopback, parse_url
from credproc.errors import UsageError
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def choose_proxy(endpoint: Endpoint, environ: Mapping[str, str]) -> Endpoint | None:
    """Return the proxy to use for `endpoint`, or None.

    Raises:
        UsageError: The environment names one that cannot be used.
    """
    name = f"{endpoint.scheme.upper()}_PROXY"
    text = environ.get(name) or environ.get(name.lower())
    if not text or bypasses(endpoint, environ.get("NO_PROXY") or environ.get("no_proxy") or ""):
        return None
    proxy = parse_url(text if "://" in text else f"http://{text}", name)
    if proxy.scheme != "http":
        raise UsageError(
            f"{name} names a proxy by https", remedy="name one by http://; what it carries is TLS"
        )
    return proxy


def bypasses(endpoint: Endpoint, no_proxy: str) -> bool:
    """Return whether `endpoint` is reached without a proxy."""
    host = endpoint.host.lower()
    if is_loopback(host):
        return True
    return any(
        _matches(entry.strip().lower(), host, endpoint.port) for entry in no_proxy.split(",")
    )


def _matches(entry: str, host: str, port: int) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    if "/" in entry:
        return _in_network(entry, host)
    name, colon, entry_port = entry.rpartition(":")
    if colon and entry_port.isdigit() and ":" not in name:
        if entry_port.lstrip("0") != str(port):
            return False
        entry = name
    if entry.startswith("*."):
        entry = entry[1:]
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry.strip("[]") or host.endswith("." + entry)


def _in_network(entry: str, host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
