"""Whether a file holds the certificates of authorities that an option or a variable promises."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from pathlib import Path

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
    if path is not None and (problem := _problem(path)) is not None:
        raise ConfigurationError(
            f"the ca_file {path} of the provider {provider} {problem}",
            remedy="name a file with lines of -----BEGIN CERTIFICATE-----, or leave the option out "
            "for the authorities that this host trusts",
        )


def check_ca_variables(variables: Iterable[str]) -> None:
    """Check the file or folder of authorities that the environment names, if it does.

    Args:
        variables: Where to look; the first that is set counts.

    Raises:
        ConfigurationError: It cannot be read, or holds no certificate.
    """
    variable = next((name for name in variables if os.environ.get(name)), None)
    if variable is None or Path(path := os.environ[variable]).is_dir():
        return
    if (problem := _problem(path)) is not None:
        raise ConfigurationError(
            f"the file {path} that {variable} names {problem}",
            remedy=f"correct {variable}, or unset it for the authorities that this host trusts",
        )


def _problem(path: str) -> str | None:
    try:
        check_readable(path)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "holds no PEM certificate that can be read"
    except OSError as error:
        return f"cannot be read: {reason(error)}"
    return None
