"""Named entries: configurations that a broker URL refers to by name.

They come from the TOML file that `MQAUTH_CONFIG` names, one table per name:

    [billing]
    provider = "oauth2"
    issuer = "https://login.example.com/realms/jobs"
    client_id = "billing-worker"
    client_secret_file = "/run/secrets/billing"

and from frameworks: from what `register_named_entries` was given, and from what the entry points of
the group `mqauth.named_entries` return (Django's `MQAUTH` setting). An entry point works in every
process, also in one that never starts the framework, as `celery inspect` does not start Django.
"""

from __future__ import annotations

import functools
import logging
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from mqauth.config.small_file import read_limited, reason
from mqauth.errors import ConfigurationError

_log = logging.getLogger(__name__)

CONFIG_VARIABLE = "MQAUTH_CONFIG"
GROUP = "mqauth.named_entries"
_MAX_BYTES = 1024 * 1024

Entries = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedEntry:
    """One named entry.

    Args:
        options: What it says, key `provider` included; may hold secrets, so it is not shown.
        file: Where it was read; None if a framework registered it.
    """

    options: Mapping[str, Any] = field(repr=False)
    file: Path | None = None


_registered: list[Callable[[], Entries]] = []
_warned: set[Path] = set()


def register_named_entries(entries: Entries | Callable[[], Entries]) -> Callable[[], None]:
    """Add named entries of a framework; they win over the file's of the same name.

    Args:
        entries: Mapping of name to options (key `provider` included), or a callable that returns
            one whenever a name is looked up.

    Returns:
        A function that takes them away again.
    """
    lookup = entries if callable(entries) else lambda: entries
    _registered.append(lookup)

    def unregister() -> None:
        if lookup in _registered:
            _registered.remove(lookup)

    return unregister


def named_entries(environ: Mapping[str, str]) -> dict[str, NamedEntry]:
    """Return all named entries.

    Raises:
        ConfigurationError: The file that `MQAUTH_CONFIG` names, or an entry, cannot be used.
    """
    entries: dict[str, NamedEntry] = {}
    if environ.get(CONFIG_VARIABLE):
        file = Path(environ[CONFIG_VARIABLE]).expanduser()
        entries.update(
            {name: _entry(name, table, file) for name, table in _from_file(file).items()}
        )
    for lookup in (*_installed(), *_registered):
        entries.update({name: _entry(name, options) for name, options in lookup().items()})
    return entries


def warn_if_exposed(entry: NamedEntry, secrets: list[str]) -> None:
    """Warn, once per file, that secrets in it can be read by everybody on the host."""
    path = entry.file
    if path is None or not secrets or path in _warned:
        return
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & stat.S_IROTH:
        _warned.add(path)
        _log.warning(
            "%s holds %s and every user of this host may read it: chmod 600 it, "
            "or name a file with %s_file instead",
            path,
            " and ".join(secrets),
            secrets[0],
        )


@functools.cache
def _installed() -> tuple[Callable[[], Entries], ...]:
    """Return what installed frameworks offer; looked for once, as each look takes milliseconds."""
    # An editable installation shows the same entry point twice.
    found = {point.value: point for point in entry_points(group=GROUP)}
    lookups: list[Callable[[], Entries]] = []
    for value, point in found.items():
        try:
            lookups.append(point.load())
        except Exception as error:  # noqa: BLE001 - foreign code may raise anything at import
            _log.warning("the named entries of %s cannot be read: %s", value, type(error).__name__)
    return tuple(lookups)


def _entry(name: str, options: object, file: Path | None = None) -> NamedEntry:
    if isinstance(options, Mapping):
        return NamedEntry(options=options, file=file)
    raise ConfigurationError(
        f"{name[:60]} in {file or 'the named entries'} is no table of options",
        remedy=f"write it as a table, [{name[:60]}] with key and value",
    )


def _from_file(path: Path) -> dict[str, Any]:
    try:
        # More than that is no configuration, and ends in the middle of a line.
        return tomllib.loads(read_limited(path, _MAX_BYTES).decode())
    except OSError as error:
        problem = reason(error)
    except UnicodeDecodeError:
        problem = "it is not UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        problem = f"it is no TOML: {error}"
    raise ConfigurationError(
        f"the configuration file {path} cannot be used: {problem}",
        remedy=f"correct it, or point {CONFIG_VARIABLE} elsewhere",
    )
