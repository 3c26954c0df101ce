"""What a `rabbitmq.conf` says about OAuth 2.

Source: RabbitMQ, "Configuration" (the format) and "OAuth 2 guide" (the keys).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mqauth.errors import ConfigurationError
from mqauth.permissions.resource_server import ResourceServer

_LINE = re.compile(r"\s*(auth_oauth2\.[\w./:-]+(?:\.\d+)?[\w.]*)\s*=\s*(.*?)\s*$")
_SERVER = re.compile(r"resource_servers\.([^.]+)\.(\w+)(?:\.(\d+))?(?:\.(\w+))?$")
_OTHERS = "resource_servers."
_LARGEST = 1024 * 1024
_KEYS = ("jwks_url", "jwks_uri", "signing_keys.", "default_key")
_PLAIN = ("scope_prefix", "resource_server_type", "additional_scopes_key")


def read_conf(path: Path) -> list[ResourceServer]:
    """Return the resource servers that a file sets up.

    Raises:
        ConfigurationError: It cannot be read, is no `rabbitmq.conf`, or says nothing of OAuth 2.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}", remedy="name the broker's rabbitmq.conf"
        ) from None
    text = content.decode(errors="replace")
    told = [line for line in text.splitlines() if _LINE.match(line)]
    # Comments may be in any encoding.
    garbled = any("\ufffd" in line for line in told or [text])
    if "\0" in text or garbled or len(content) > _LARGEST:
        raise ConfigurationError(
            f"{path} is no rabbitmq.conf: it is too large, or no text",
            remedy="name the file of lines such as auth_oauth2.resource_server_id = rabbitmq",
        )
    if not told:
        raise ConfigurationError(
            f"{path} says nothing of OAuth 2: it has no line that begins with auth_oauth2.",
            remedy="name the broker's rabbitmq.conf, or leave --conf out",
        )
    return resource_servers(text)


def resource_servers(conf: str) -> list[ResourceServer]:
    """Return the resource servers that a `rabbitmq.conf` sets up, the root's first."""
    settings: dict[str, str] = {}
    for line in conf.splitlines():
        match = _LINE.match(line)
        if match and not line.lstrip().startswith("#"):
            settings[match[1].removeprefix("auth_oauth2.")] = _unquoted(match[2])
    root = {key: value for key, value in settings.items() if not key.startswith(_OTHERS)}
    others: dict[str, dict[str, str]] = {}
    for key, value in settings.items():
        found = _SERVER.match(key)
        if found:
            rest = ".".join(part for part in found.groups()[1:] if part)
            others.setdefault(found[1], {})[rest] = value
    server = _server(root, root.get("resource_server_id", ""), {})
    named = [_server(own, own.get("id", name), root) for name, own in others.items()]
    return [server, *named] if server.id or not named else named


def _server(own: Mapping[str, str], name: str, root: Mapping[str, str]) -> ResourceServer:
    def value(key: str) -> str | None:
        return own.get(key, root.get(key))

    plain: dict[str, Any] = {key: value(key) for key in _PLAIN}
    return ResourceServer(
        id=name,
        scope_aliases=_aliases(own) or _aliases(root),
        preferred_username_claims=_numbered(own, "preferred_username_claims")
        or _numbered(root, "preferred_username_claims"),
        verify_aud=value("verify_aud") != "false",
        require_exp=value("require_exp") != "false",
        verify_issuer=value("verify_issuer") == "true",
        issuer=_issuer(value("oauth_provider_id") or value("default_oauth_provider"), own, root),
        **plain,
    )


def _issuer(provider: str | None, server: Mapping[str, str], root: Mapping[str, str]) -> str | None:
    """Return the issuer that keys are fetched from; None where the keys come from elsewhere."""
    settings = {**root, **server}
    prefix = f"oauth_providers.{provider}." if provider else ""
    own = {key[len(prefix) :]: value for key, value in settings.items() if key.startswith(prefix)}
    return None if any(key.startswith(_KEYS) for key in own) else own.get("issuer")


def _aliases(settings: Mapping[str, str]) -> dict[str, list[str]]:
    """Return aliases: `scope_aliases.1.alias` with its `.scope`, or `scope_aliases.x` for short."""
    aliases: dict[str, list[str]] = {}
    for key, value in settings.items():
        if not key.startswith("scope_aliases."):
            continue
        rest = key.removeprefix("scope_aliases.")
        if rest.endswith(".alias"):
            scope = settings.get(f"scope_aliases.{rest.removesuffix('.alias')}.scope", "")
            aliases[value] = scope.split()
        elif not rest.endswith(".scope"):
            aliases[rest] = value.split()
    return aliases


def _numbered(settings: Mapping[str, str], key: str) -> tuple[str, ...]:
    found = [(k, v) for k, v in settings.items() if re.fullmatch(rf"{key}\.\d+", k)]
    return tuple(value for _, value in sorted(found))


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
