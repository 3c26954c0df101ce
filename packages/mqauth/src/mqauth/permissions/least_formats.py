"""A least grant in the forms that brokers take it.

Source: RabbitMQ, "OAuth 2 guide" (scope aliases), "Access control" (`set_permissions`); Amazon MQ
developer guide, "Using IAM authentication and authorization for Amazon MQ for RabbitMQ".
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from mqauth.permissions.checks import ACTIONS, Action
from mqauth.permissions.least import Element
from mqauth.permissions.regexes import NOTHING

AMAZON_MQ_PREFIX = "rabbitmq/"


def as_scopes(elements: Iterable[Element], vhost: str, prefix: str) -> list[str]:
    """Return the scopes, prefix in front."""
    return list(dict.fromkeys(element.scope(vhost, prefix) for element in elements))


def as_expressions(elements: Iterable[Element]) -> dict[Action, str]:
    """Return the three regular expressions of a user of the broker's own."""
    found: dict[Action, list[str]] = {action: [] for action in ACTIONS}
    for element in elements:
        if element.name.expression not in found[element.action]:
            found[element.action].append(element.name.expression)
    return {action: _alternatives(names) for action, names in found.items()}


def set_permissions(elements: Iterable[Element], vhost: str, user: str) -> str:
    """Return the command that gives a user these permissions."""
    patterns = as_expressions(elements)
    words = [vhost, user, *(patterns[action] for action in ACTIONS)]
    return "rabbitmqctl set_permissions -p " + " ".join(map(shlex.quote, words))


def conf_aliases(aliases: Mapping[str, Sequence[str]], first: int = 1) -> str:
    """Return lines for `rabbitmq.conf` that make aliases stand for scopes; since 4.1."""
    lines = []
    for number, (alias, scopes) in enumerate(aliases.items(), start=first):
        lines.append(f"auth_oauth2.scope_aliases.{number}.alias = {alias}")
        lines.append(f"auth_oauth2.scope_aliases.{number}.scope = {' '.join(scopes)}")
    return "\n".join(lines)


def advanced_aliases(aliases: Mapping[str, Sequence[str]]) -> str:
    """Return an `advanced.config` that makes aliases stand for scopes; for brokers before 4.1."""
    entries = []
    for alias, scopes in aliases.items():
        inner = ",\n".join(f"        {_binary(scope)}" for scope in scopes)
        entries.append(f"      {_binary(alias)} => [\n{inner}\n      ]")
    joined = ",\n".join(entries)
    return (
        "[\n  {rabbitmq_auth_backend_oauth2, [\n    {scope_aliases, #{\n"
        f"{joined}\n    }}}}\n  ]}}\n]."
    )


def amazon_mq(aliases: Mapping[str, Sequence[str]], issuer: str, audience: str) -> str:
    """Return what a configuration of Amazon MQ needs for these IAM roles to sign in.

    Args:
        aliases: The ARN of each role with its scopes, prefix `rabbitmq/` in front.
        issuer: URL of the account's issuer of web identity tokens.
        audience: The audience that its tokens name.
    """
    return "\n".join(
        [
            "auth_backends.1 = oauth2",
            "auth_backends.2 = internal",
            f"auth_oauth2.jwks_url = {issuer}/.well-known/jwks.json",
            f"auth_oauth2.resource_server_id = {audience}",
            f"auth_oauth2.scope_prefix = {AMAZON_MQ_PREFIX}",
            "auth_oauth2.additional_scopes_key = sub",
            conf_aliases(aliases),
            "auth_oauth2.https.hostname_verification = wildcard",
            "management.oauth_enabled = true",
        ]
    )


def _alternatives(names: Sequence[str]) -> str:
    if not names:
        return NOTHING
    return f"^{names[0]}$" if len(names) == 1 else f"^({'|'.join(names)})$"


def _binary(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'<<"{escaped}"/utf8>>'
