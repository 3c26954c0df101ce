"""Named entries of a TOML file, for `credproc PROFILE`.

    [profiles.onprem]
    certificate = "host.pem"            # relative to the file
    private-key = "host.key"
    trust-anchor-arn = "arn:aws:..."

The keys are the flags' names. `[defaults]` holds what all entries share. The file is
`CREDPROC_CONFIG`, or `credproc/config.toml` under `$XDG_CONFIG_HOME` (`~/.config`).
"""

from __future__ import annotations

import os
from typing import Any

from credproc.errors import IdentityError, UsageError
from credproc.files import read_file
from credproc.flags import BY_NAME, SWITCH
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from credproc.options import Value

USUAL_FILE = "~/.config/credproc/config.toml"
"""Where the file is unless a variable says otherwise."""

PATHS = ("certificate", "private-key", "intermediates", "key-password-file", "helper", "cache-dir")
URIS = ("pkcs11:", "handle:")


def config_path(environ: Mapping[str, str]) -> str:
    """Return where the file is, whether it exists or not."""
    explicit = environ.get("CREDPROC_CONFIG")
    if explicit:
        return explicit
    base = environ.get("XDG_CONFIG_HOME")
    return f"{base}/credproc/config.toml" if base else os.path.expanduser(USUAL_FILE)


def profile_names(environ: Mapping[str, str]) -> list[str]:
    """Return the names of all entries; none if the file cannot be read."""
    try:
        return sorted(_tables(config_path(environ))["profiles"])
    except UsageError:
        return []


def load_profile(name: str, environ: Mapping[str, str]) -> dict[str, Value]:
    """Return a named entry's options, by field name.

    Raises:
        UsageError: There is no such entry, or something in it cannot be used.
    """
    path = config_path(environ)
    tables = _tables(path)
    if name not in tables["profiles"]:
        import difflib

        near = difflib.get_close_matches(name, tables["profiles"], n=1)
        hint = f"did you mean {near[0]}" if near else f"add [profiles.{name}] to it"
        raise UsageError(f"{path} has no profile {name!r}", remedy=hint)
    merged = {**tables["defaults"], **tables["profiles"][name]}
    return {
        BY_NAME[_flag(key, path)].field: _value(_flag(key, path), value, path)
        for key, value in merged.items()
    }


def _tables(path: str) -> dict[str, dict[str, Any]]:
    import tomllib

    try:
        document = tomllib.loads(read_file(path, "configuration").decode())
    except IdentityError as error:
        raise UsageError(
            error.message, remedy="write it, or name another with CREDPROC_CONFIG"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration {path} is no TOML: {error}") from None
    tables = {"defaults": document.pop("defaults", {}), "profiles": document.pop("profiles", {})}
    if document:
        raise UsageError(
            f"the configuration {path} has {', '.join(map(repr, document))}",
            remedy="it holds [defaults] and [profiles.NAME]",
        )
    entries = [tables["defaults"], tables["profiles"]]
    entries += tables["profiles"].values() if isinstance(tables["profiles"], dict) else []
    if not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(
            f"the configuration {path} has a value where a table belongs",
            remedy="it holds [defaults] and [profiles.NAME]",
        )
    return tables


def _flag(key: str, path: str) -> str:
    name = key.replace("_", "-")
    if name in BY_NAME:
        return name
    import difflib

    near = difflib.get_close_matches(name, BY_NAME, n=1)
    raise UsageError(
        f"the configuration {path} has an unknown key {key!r}",
        remedy=f"did you mean {near[0]}" if near else "its keys are the flags' names",
    )


def _value(name: str, value: Any, path: str) -> Value:
    if not isinstance(value, str | int | bool) or isinstance(value, bool) != (
        BY_NAME[name].kind == SWITCH
    ):
        kind = "true or false" if BY_NAME[name].kind == SWITCH else "text or a number"
        raise UsageError(f"{name} in {path} cannot be used", remedy=f"write {kind}")
    if name in PATHS and isinstance(value, str) and not value.startswith(URIS):
        expanded = os.path.expanduser(value)
        return os.path.join(os.path.dirname(os.path.abspath(path)), expanded)
    return value
