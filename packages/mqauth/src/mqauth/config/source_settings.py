"""Settings of a credential source: how to rotate and share, whatever the provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mqauth.config.hiding import plain
from mqauth.config.option_values import convert, parse_bool
from mqauth.config.options import suggestion
from mqauth.errors import ConfigurationError

ROTATIONS = ("auto", "update-secret", "replace", "reconnect")
"""Values of the setting `rotation`, the default first; what they mean is up to the transport."""


def split_settings(mapping: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split what a user wrote in one mapping into provider options and source settings.

    Settings are `cache` (whether, or the directory where, processes of this host share
    credentials), `renew_at` (fraction of a credential's life after which it is renewed),
    `insecure` (whether a credential may cross a network in clear), `timeout` (seconds that one
    fetch may take) and `rotation` (how open connections come to a newer credential).

    Raises:
        ConfigurationError: A setting is of the wrong type or out of range.
    """
    options = {key: value for key, value in mapping.items() if key not in _PARSERS}
    settings = {
        key: _parsed(key, plain(mapping[key]))
        for key in _PARSERS
        if key in mapping and mapping[key] is not None
    }
    return options, settings


def settings_from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that `MQAUTH_CACHE`, `MQAUTH_RENEW_AT` and so on give."""
    found = {key: environ[variable(key)] for key in _PARSERS if environ.get(variable(key))}
    return split_settings(found)[1]


def variable(setting: str) -> str:
    """Return the environment variable of a setting."""
    return f"MQAUTH_{setting.upper()}"


def _parsed(key: str, value: object) -> Any:
    try:
        return _PARSERS[key](value)
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(
        f"the setting {key} {problem}",
        remedy=f"correct it where it is set; its environment variable is {variable(key)}",
    )


def _cache(value: object) -> bool | str:
    try:
        return parse_bool(value)
    except ValueError:
        directory = convert(value, str)
    # A relative one would be another one for each process, and any misspelt word would be one.
    if not isinstance(directory, str) or not directory.startswith(("/", "~/")):
        raise ValueError("must be on, off or the absolute path of a directory")
    return str(Path(directory).expanduser())


def _fraction(value: object) -> float:
    number: float = convert(value, float)
    if not 0 < number <= 0.9:
        raise ValueError("must be greater than 0 and at most 0.9")
    return number


def _seconds(value: object) -> float:
    number: float = convert(value, float)
    if not 0 < number <= 300:
        raise ValueError("must be a number of seconds, more than 0 and at most 300")
    return number


def _rotation(value: object) -> str:
    if value not in ROTATIONS:
        near = suggestion(str(value)[:40], ROTATIONS)
        raise ValueError(f"must be one of {', '.join(ROTATIONS)}{near}")
    return str(value)


_PARSERS: Mapping[str, Callable[[object], Any]] = {
    "cache": _cache,
    "renew_at": _fraction,
    "insecure": parse_bool,
    "timeout": _seconds,
    "rotation": _rotation,
}

SETTINGS = tuple(_PARSERS)
"""Names of all settings."""
