"""Where the AWS SDKs look for their files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from credproc.errors import CacheError

CREDENTIALS_VARIABLE = "AWS_SHARED_CREDENTIALS_FILE"
CONFIG_VARIABLE = "AWS_CONFIG_FILE"


def credentials_path(environ: Mapping[str, str]) -> Path:
    """Return the shared credentials file's path.

    Raises:
        CacheError: There is neither a variable nor a home directory that names one.
    """
    return _path(environ, CREDENTIALS_VARIABLE, "credentials")


def config_path(environ: Mapping[str, str]) -> Path:
    """Return the config file's path.

    Raises:
        CacheError: There is neither a variable nor a home directory that names one.
    """
    return _path(environ, CONFIG_VARIABLE, "config")


def _path(environ: Mapping[str, str], variable: str, name: str) -> Path:
    given = environ.get(variable) or f"~/.aws/{name}"
    path = Path(os.path.expandvars(os.path.expanduser(given)))  # as botocore does
    if not path.is_absolute():
        path = Path.cwd() / path
    if str(path).startswith("~") or "/~" in str(path):
        raise CacheError(
            f"no home directory is known, so {given} cannot be found",
            remedy=f"set HOME, or {variable} to the file's path",
        )
    return path
