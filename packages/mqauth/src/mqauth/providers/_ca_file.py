"""Whether a file holds the certificates of authorities that the option `ca_file` promises."""

from __future__ import annotations

import ssl

from mqauth.config.small_file import check_readable, reason
from mqauth.errors import ConfigurationError


def check_ca_file(path: str | None, provider: str) -> None:
    """Check the option before anything is sent: later the issuer would be blamed for it.

    Args:
        path: The file; None where the option is not given.
        provider: Whose option it is, for error messages.

    Raises:
        ConfigurationError: The file cannot be read, or holds no certificate.
    """
    if path is None:
        return
    try:
        check_readable(path)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        problem = "holds no PEM certificate that can be read"
    except OSError as error:
        problem = f"cannot be read: {reason(error)}"
    else:
        return
    raise ConfigurationError(
        f"the ca_file {path} of the provider {provider} {problem}",
        remedy="name a file with lines of -----BEGIN CERTIFICATE-----, or leave the option out "
        "for the authorities that this host trusts",
    )
