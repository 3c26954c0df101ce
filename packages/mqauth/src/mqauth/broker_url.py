"""What is wrong with a broker URL as such, whoever reads it."""

from __future__ import annotations

from urllib.parse import parse_qsl

from mqauth.errors import ConfigurationError
from mqauth.host_names import is_host_name

_TAKEN = frozenset({"heartbeat"})
_LONGEST = 40


def check_parameters(query: str) -> None:
    """Refuse the parameters of a URL that nobody would read.

    Args:
        query: What stands behind the `?`. Its values do not show in the error: users of other
            libraries write secrets there.

    Raises:
        ConfigurationError: There is one.
    """
    named = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    unknown = [name[:_LONGEST] for name in named if name not in _TAKEN]
    if unknown:
        raise ConfigurationError(
            f"the broker URL has parameters that mqauth does not read: {', '.join(unknown)}",
            remedy="take them out: options of the provider go into broker_transport_options"
            "['auth'] or environment variables, those of TLS into broker_use_ssl",
        )


def check_host(host: str) -> None:
    """Refuse a host that no look-up takes.

    Args:
        host: The host alone. It does not show in the error: in a URL that was put together wrongly
            it may be a part of a password.

    Raises:
        ConfigurationError: It is no host name.
    """
    if not is_host_name(host):
        raise ConfigurationError(
            "the host of the broker URL is no host name: a part between its dots is empty, longer "
            "than 63 characters, or not to be encoded",
            remedy="correct it; what stands behind @ is the host",
        )


def unreadable(url: str) -> ConfigurationError:
    """Return the error for a broker URL that no parser takes.

    What the parser says is left out: it repeats what may be part of a password.

    Args:
        url: The URL, or several with `;` between them, of which the first tells the scheme.
    """
    scheme = url.partition("://")[0]
    several = (
        f"{scheme}://PROVIDER@HOST[,HOST...]:PORT, with one port for all hosts, or as whole URLs "
        "with ; between them"
    )
    usual = "mqauths://PROVIDER@HOST[:PORT]/VHOST"
    return ConfigurationError(
        "host and port of the broker URL cannot be read",
        remedy=f"write it as {several if scheme.endswith('-kafka') else usual}",
    )
