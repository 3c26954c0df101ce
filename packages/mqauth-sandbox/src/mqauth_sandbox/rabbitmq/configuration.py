"""The configuration files of a node."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mqauth_sandbox.ports import has_ipv6_loopback

PLUGINS = (
    "rabbitmq_management",
    "rabbitmq_auth_backend_oauth2",
    "rabbitmq_auth_backend_http",
    "rabbitmq_auth_mechanism_ssl",
)
# Keys of rabbitmq.conf that older versions of the plugin do not have.
SCOPE_PREFIX_KEY = "auth_oauth2.scope_prefix"
SCOPE_ALIASES_KEY = "auth_oauth2.scope_aliases"


CertificateLogin = Literal["common_name", "distinguished_name"]
"""What of a client certificate is the user's name."""


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A key of tokens that a node is told instead of fetching it.

    Attributes:
        form: How the configuration writes it: a `map` of a JSON Web Key's members, the text of a
            `pem`, or a `json` text such as UAA gives.
        value: The key in that form; what of it is secret stands in the node's files.
    """

    form: Literal["map", "pem", "json"]
    value: Mapping[str, str] | str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class OAuth2Settings:
    """What a node trusts for OAuth 2, in the terms of rabbitmq_auth_backend_oauth2.

    Attributes:
        jwks_url: HTTPS URL of the keys that sign tokens; None where `signing_keys` says all.
        signing_keys: Keys by their ids, which tokens name in their header as `kid`.
        default_key: Id of the key of tokens that name none.
        resource_server_id: The audience a token must name.
        scope_prefix: What a scope must start with; None for `<resource_server_id>.`.
        additional_scopes_key: Claim whose value counts as scopes too.
        preferred_username_claims: Claims whose first present one names the user; none for `sub`,
            then `client_id`.
        scope_aliases: Scopes that stand for others, each with what it stands for.
        management_oauth: Whether the management pages sign users in by OAuth 2.
    """

    jwks_url: str | None = None
    signing_keys: Mapping[str, SigningKey] = field(default_factory=dict)
    default_key: str | None = None
    resource_server_id: str = "rabbitmq"
    scope_prefix: str | None = None
    additional_scopes_key: str | None = None
    preferred_username_claims: Sequence[str] = ()
    scope_aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    management_oauth: bool = False


@dataclass(frozen=True, kw_only=True)
class NodePorts:
    """The TCP ports of one node, all on loopback."""

    amqp: int
    amqps: int
    management: int
    epmd: int
    distribution: int


@dataclass(frozen=True, kw_only=True)
class NodePaths:
    """The files of one node, by the names that the node itself knows them under."""

    ca_file: Path
    certificate_file: Path
    key_file: Path
    log_file: Path


def rabbitmq_conf(
    *,
    known_keys: Container[str],
    ports: NodePorts,
    paths: NodePaths,
    admin: tuple[str, str],
    oauth2: OAuth2Settings | None,
    certificate_login: CertificateLogin | None = None,
) -> str:
    """Return the text of rabbitmq.conf. It holds the administrator's password."""
    lines = [
        *_listeners("listeners.tcp", ports.amqp),
        *_listeners("listeners.ssl", ports.amqps),
        f"ssl_options.cacertfile = {paths.ca_file}",
        f"ssl_options.certfile = {paths.certificate_file}",
        f"ssl_options.keyfile = {paths.key_file}",
        "ssl_options.versions.1 = tlsv1.3",
        "ssl_options.versions.2 = tlsv1.2",
        f"ssl_options.verify = {'verify_peer' if certificate_login else 'verify_none'}",
        "ssl_options.fail_if_no_peer_cert = false",
        "management.tcp.ip = 127.0.0.1",
        f"management.tcp.port = {ports.management}",
        f"default_user = {admin[0]}",
        f"default_pass = {admin[1]}",
        "default_user_tags.administrator = true",
        f"log.file = {paths.log_file}",
        "log.file.level = info",
        "log.console = false",
        # A development machine with a full disk or little memory must not block publishers.
        "disk_free_limit.absolute = 1MB",
        "vm_memory_high_watermark.absolute = 4GB",
        *_auth_lines(oauth2, known_keys, paths.ca_file),
        *_certificate_lines(certificate_login),
    ]
    return "\n".join(lines) + "\n"


def advanced_config(*, known_keys: Container[str], oauth2: OAuth2Settings | None) -> str:
    """Return the text of advanced.config: what this version cannot be told in rabbitmq.conf."""
    terms = []
    if oauth2 is not None and oauth2.scope_aliases and SCOPE_ALIASES_KEY not in known_keys:
        prefixed = _scopes_as_understood(oauth2, known_keys)
        aliases = ", ".join(
            f"{_binary(alias)} => [{', '.join(map(_binary, scopes))}]"
            for alias, scopes in prefixed.items()
        )
        terms.append(f"{{scope_aliases, #{{{aliases}}}}}")
    if oauth2 is not None and oauth2.signing_keys:
        terms.append(f"{{key_config, [{', '.join(_key_terms(oauth2))}]}}")
    if not terms:
        return "[].\n"
    return f"[{{rabbitmq_auth_backend_oauth2, [{', '.join(terms)}]}}].\n"


def _key_terms(oauth2: OAuth2Settings) -> list[str]:
    keys = ", ".join(
        f"{_binary(name)} => {{{key.form}, {_key_value(key.value)}}}"
        for name, key in oauth2.signing_keys.items()
    )
    default = (
        [] if oauth2.default_key is None else [f"{{default_key, {_binary(oauth2.default_key)}}}"]
    )
    return [*default, f"{{signing_keys, #{{{keys}}}}}"]


def _key_value(value: Mapping[str, str] | str) -> str:
    if isinstance(value, str):
        return _binary(value)
    return f"#{{{', '.join(f'{_binary(k)} => {_binary(v)}' for k, v in value.items())}}}"


def enabled_plugins() -> str:
    """Return the text of the enabled_plugins file."""
    return f"[{','.join(PLUGINS)}].\n"


def _listeners(key: str, port: int) -> list[str]:
    lines = [f"{key}.1 = 127.0.0.1:{port}"]
    return [*lines, f"{key}.2 = ::1:{port}"] if has_ipv6_loopback() else lines


def _auth_lines(
    oauth2: OAuth2Settings | None, known_keys: Container[str], ca_file: Path
) -> list[str]:
    if oauth2 is None:
        return ["auth_backends.1 = internal"]
    # 3.10 does not know the short name that AWS writes, and then refuses every login in silence.
    backend = "oauth2" if SCOPE_ALIASES_KEY in known_keys else "rabbit_auth_backend_oauth2"
    lines = [
        f"auth_backends.1 = {backend}",
        "auth_backends.2 = internal",
        f"auth_oauth2.resource_server_id = {oauth2.resource_server_id}",
    ]
    if oauth2.jwks_url is not None:
        lines += [
            f"auth_oauth2.jwks_url = {oauth2.jwks_url}",
            f"auth_oauth2.https.cacertfile = {ca_file}",
            "auth_oauth2.https.peer_verification = verify_peer",
            "auth_oauth2.https.hostname_verification = wildcard",
        ]
    if oauth2.scope_prefix is not None and SCOPE_PREFIX_KEY in known_keys:
        lines.append(f"auth_oauth2.scope_prefix = {oauth2.scope_prefix}")
    if oauth2.additional_scopes_key is not None:
        lines.append(f"auth_oauth2.additional_scopes_key = {oauth2.additional_scopes_key}")
    for number, claim in enumerate(oauth2.preferred_username_claims, 1):
        lines.append(f"auth_oauth2.preferred_username_claims.{number} = {claim}")
    if SCOPE_ALIASES_KEY in known_keys:
        for index, (alias, scopes) in enumerate(oauth2.scope_aliases.items(), start=1):
            lines.append(f"auth_oauth2.scope_aliases.{index}.alias = {alias}")
            lines.append(f"auth_oauth2.scope_aliases.{index}.scope = {' '.join(scopes)}")
    if oauth2.management_oauth and SCOPE_ALIASES_KEY in known_keys:
        lines.append("management.oauth_enabled = true")
    return lines


def _certificate_lines(login: CertificateLogin | None) -> list[str]:
    if login is None:
        return []
    mechanisms = ("PLAIN", "AMQPLAIN", "EXTERNAL")
    offered = [f"auth_mechanisms.{index} = {name}" for index, name in enumerate(mechanisms, 1)]
    return [*offered, f"ssl_cert_login_from = {login}"]


def _scopes_as_understood(
    oauth2: OAuth2Settings, known_keys: Container[str]
) -> Mapping[str, Sequence[str]]:
    """Give scopes the only prefix that a version without `scope_prefix` knows."""
    wanted, known = oauth2.scope_prefix, f"{oauth2.resource_server_id}."
    if wanted is None or SCOPE_PREFIX_KEY in known_keys:
        return oauth2.scope_aliases
    return {
        alias: [known + scope.removeprefix(wanted) for scope in scopes]
        for alias, scopes in oauth2.scope_aliases.items()
    }


def _binary(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'<<"{escaped}">>'
