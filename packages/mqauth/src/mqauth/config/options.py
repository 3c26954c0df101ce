"""Options of a provider: merged from several places, checked, and typed."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mqauth.config.option_values import check_one_line, convert
from mqauth.config.secret_file import FileSecret
from mqauth.errors import ConfigurationError
from mqauth.provider import Option, Provider
from mqauth.secret import Secret, encodable

_log = logging.getLogger(__name__)

_FILE = "_file"


def environment_name(provider: str, option: str) -> str:
    """Return the environment variable of an option, such as `MQAUTH_OAUTH2_CLIENT_ID`."""
    return f"MQAUTH_{provider}_{option}".upper().replace("-", "_")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ` - did you mean ...?` for the nearest known name, or nothing."""
    nearest = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f" - did you mean {nearest[0]}?" if nearest else ""


def option_keys(provider_class: type[Provider]) -> dict[str, Option]:
    """Return every key a user may write, with the option it stands for."""
    keys: dict[str, Option] = {}
    for option in provider_class.options:
        keys[option.name] = option
        if option.secret:
            keys[option.name + _FILE] = option
    return keys


def from_environment(provider_class: type[Provider], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the options that environment variables give; an empty variable counts as unset."""
    by_variable = {
        environment_name(provider_class.name, key): key for key in option_keys(provider_class)
    }
    prefix = environment_name(provider_class.name, "")
    for variable in environ:
        if variable.startswith(prefix) and variable not in by_variable:
            _log.warning(
                "The environment variable %s sets no option of the provider %s%s",
                variable,
                provider_class.name,
                suggestion(variable.lower(), (name.lower() for name in by_variable)).upper(),
            )
    return {key: environ[name] for name, key in by_variable.items() if environ.get(name)}


def merge(provider_class: type[Provider], layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge mappings of options; an earlier layer wins, whichever way it spells an option.

    So `client_secret_file` of the first layer is not contradicted by `client_secret` of the next.
    """
    keys = option_keys(provider_class)
    merged: dict[str, Any] = {}
    settled: set[str] = set()
    for layer in layers:
        given = {key: value for key, value in layer.items() if value is not None}
        slots = {key: keys[key].name if key in keys else key for key in given}
        merged.update({key: given[key] for key in given if slots[key] not in settled})
        settled.update(slots.values())
    return merged


def validate(provider_class: type[Provider], options: Mapping[str, Any]) -> dict[str, Any]:
    """Check a provider's options and give each its type.

    The type is that of the option's default; secrets become `Secret` (read anew at every
    `reveal` where `<name>_file` names a file). Validating the result again changes nothing.

    Args:
        provider_class: The provider that declares the options.
        options: What the user wrote; None counts as not given.

    Returns:
        Every declared option by name, defaults included.

    Raises:
        ConfigurationError: An option is unknown, missing, contradictory or of the wrong type.
    """
    given = {key: value for key, value in options.items() if value is not None}
    _refuse_unknown(provider_class, given)
    checked: dict[str, Any] = {}
    missing: list[Option] = []
    for option in provider_class.options:
        value = _value(provider_class.name, option, given)
        if value is None and option.required:
            missing.append(option)
        checked[option.name] = option.default if value is None else value
    if missing:
        raise _missing(provider_class.name, missing)
    return checked


def _refuse_unknown(provider_class: type[Provider], given: Mapping[str, Any]) -> None:
    known = option_keys(provider_class)
    for key in given:
        if key not in known:
            raise ConfigurationError(
                f"the provider {provider_class.name} has no option "
                f"{_short(str(key))}{suggestion(str(key), known)}",
                remedy=f"known options: {', '.join(sorted(known)) or 'none'}",
            )


def _value(provider: str, option: Option, given: Mapping[str, Any]) -> Any:
    if option.secret:
        return _secret(provider, option, given)
    if option.name not in given:
        return None
    kind = str if option.default is None else type(option.default)
    value = _converted(provider, option.name, given[option.name], kind)
    if not option.several_lines:
        _check_one_line(provider, option.name, value)
    return None if value == "" else value


def _secret(provider: str, option: Option, given: Mapping[str, Any]) -> Secret | None:
    file_key = option.name + _FILE
    if option.name in given and file_key in given:
        raise ConfigurationError(
            f"the provider {provider} got both {option.name} and {file_key}",
            remedy="give one of them",
        )
    if file_key in given:
        in_file = FileSecret(_converted(provider, file_key, given[file_key], str))
        in_file.reveal()
        return in_file
    value = given.get(option.name)
    if isinstance(value, FileSecret) or value is None:
        return value
    if not isinstance(value, str | Secret):
        raise _wrong(provider, option.name, "must be text")
    secret = value if isinstance(value, Secret) else Secret(value)
    if not encodable(secret.reveal()):
        raise _wrong(provider, option.name, "holds characters that UTF-8 cannot write")
    return secret or None


def _converted(provider: str, key: str, value: object, kind: type) -> Any:
    try:
        return convert(value, kind)
    except ValueError as error:
        problem = str(error)
    raise _wrong(provider, key, problem)


def _check_one_line(provider: str, key: str, value: object) -> None:
    try:
        check_one_line(value)
    except ValueError as error:
        problem = str(error)
    else:
        return
    raise _wrong(provider, key, problem)


def _wrong(provider: str, key: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"the option {key} of the provider {provider} {problem}",
        remedy=f"correct it where it is set; its environment variable is "
        f"{environment_name(provider, key)}",
    )


def _missing(provider: str, options: Sequence[Option]) -> ConfigurationError:
    """Return the error that names all that is missing, so that nobody learns one a run."""
    needed = " and ".join(f"{option.name}: {option.help}" for option in options)
    return ConfigurationError(
        f"the provider {provider} needs the option{'s' * (len(options) > 1)} {needed}",
        remedy=f"set {'it' if len(options) == 1 else 'them'} in the options of the provider, or as "
        + " and ".join(_variables(provider, option) for option in options),
    )


def _variables(provider: str, option: Option) -> str:
    variable = environment_name(provider, option.name)
    if option.secret:
        variable += f" (or {environment_name(provider, option.name + _FILE)})"
    return variable


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
