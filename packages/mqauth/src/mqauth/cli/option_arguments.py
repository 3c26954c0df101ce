"""What several commands take: a name, `--option NAME=VALUE`, and files of the broker's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from mqauth.config.named_entries import named_entries
from mqauth.config.options import option_keys
from mqauth.config.registry import provider_class, provider_names
from mqauth.config.resolution import resolve
from mqauth.errors import ConfigurationError, InvalidCredentialError, MQAuthError
from mqauth.jwt_claims import unverified_claims
from mqauth.secret import Secret

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def time_limit_up_to(longest: float) -> Callable[[click.Context, click.Parameter, float], float]:
    """Return a callback that takes more than 0 and at most `longest` seconds.

    Neither `nan` nor infinity is such a limit, and click's own range takes both.
    """

    def check(ctx: click.Context, param: click.Parameter, value: float) -> float:
        if not 0 < value <= longest:
            raise click.BadParameter(
                f"{value:g} is not more than 0 and at most {longest:g} seconds",
                ctx=ctx,
                param=param,
            )
        return value

    return check


time_limit = time_limit_up_to(300)
"""A limit of one step, such as a login."""


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the providers and named entries that begin so, for a shell."""
    del ctx, param  # click's callback has them
    return [name for name in known_names() if name.startswith(incomplete)]


def option_of(whose: str) -> Decorator:
    """Return the option `--option NAME=VALUE`, which may be repeated.

    Args:
        whose: Of what they are options, for the help.
    """
    return click.option(
        "options",
        "--option",
        "-o",
        metavar="NAME=VALUE",
        multiple=True,
        help=f"An option of {whose}; may be repeated.",
    )


name_argument: Decorator = click.argument(
    "name", metavar="[ENTRY|PROVIDER]", required=False, shell_complete=complete_name
)
"""The named entry or provider; left out, it is the only entry."""

provider_options: Decorator = option_of("the provider or a setting of the source")


def conf_option(tells: str) -> Decorator:
    """Return the option `--conf FILE`.

    Args:
        tells: What the broker's configuration tells, for the help.
    """
    return click.option(
        "--conf",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help=f"The broker's rabbitmq.conf: {tells}.",
    )


def known_names() -> list[str]:
    """Return all providers and named entries."""
    try:
        entries = list(named_entries(os.environ))
    except MQAuthError:
        entries = []
    return sorted({*provider_names(), *entries})


def the_only_entry() -> str:
    """Return the one named entry that there is.

    Raises:
        ConfigurationError: There are none, or several.
    """
    entries = sorted(named_entries(os.environ))
    if len(entries) == 1:
        return entries[0]
    raise ConfigurationError(
        "the command line names no provider and no named entry",
        remedy=f"name one: {', '.join(known_names())}",
    )


def parsed(pairs: Iterable[str]) -> dict[str, str]:
    """Return the options of `NAME=VALUE` arguments."""
    options: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.strip():
            raise click.BadParameter("write NAME=VALUE", param_hint="--option")
        options[name.strip()] = value
    return options


def given_token(content: bytes) -> Secret:
    """Return the token that a user hands over in a file or on standard input.

    Raises:
        ConfigurationError: It is none that anybody but its audience can read: another file is
            needed, and asking again changes nothing.
    """
    token = Secret(content.decode(errors="replace").strip().removeprefix("Bearer ").strip())
    try:
        unverified_claims(token)
    except InvalidCredentialError as error:
        raise ConfigurationError(
            error.message, remedy="hand over a signed token as its issuer gave it, and all of it"
        ) from None
    return token


def refuse_secrets(name: str, options: dict[str, str]) -> None:
    """Refuse options that are secrets: everybody on the host can read a command line.

    Raises:
        ConfigurationError: One is.
    """
    entry = named_entries(os.environ).get(name)
    provider = str(entry.options.get("provider", name)) if entry else name
    if provider not in provider_names():
        resolve(name, explicit=options)  # says what is wrong with it
    keys = option_keys(provider_class(provider))
    for key in options:
        option = keys.get(key)
        if option is not None and option.secret and key == option.name:
            raise ConfigurationError(
                f"{key} is a secret, and everybody on this host can read a command line",
                remedy=f"give --option {key}_file=PATH, or the environment variable",
            )
