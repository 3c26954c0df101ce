"""Optional dependencies: which extra brings what, and what to say when it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from mqauth.errors import ConfigurationError

_EXTRA_OF = {
    "authlib": "oauth2",
    "requests": "oauth2",
    "boto3": "aws",
    "botocore": "aws",
    "aws_msk_iam_sasl_signer": "msk",
    "cryptography": "external",
    "click": "cli",
    "pcre2": "permissions",
    "urllib3": "management",
}


def require(*modules: str) -> None:
    """Check that optional dependencies are installed, without importing them.

    A process that finds its credential in the host's cache never needs them loaded, and loading
    them takes longer than everything else it does.

    Raises:
        ConfigurationError: One is missing; names the command that installs it.
    """
    for module in modules:
        if find_spec(module) is None:
            raise _not_installed(module)


def missing_extra(error: ImportError) -> ConfigurationError | None:
    """Return the error that names the extra to install, if that is what an import lacks."""
    module = (error.name or "").partition(".")[0]
    return _not_installed(module) if module in _EXTRA_OF else None


def _not_installed(module: str) -> ConfigurationError:
    return ConfigurationError(
        f"{module} is not installed",
        remedy=f'pip install "mqauth[{_EXTRA_OF[module]}]"',
    )
