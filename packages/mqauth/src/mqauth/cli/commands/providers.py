"""`mqauth providers`: tells which providers are installed and what they take."""

from __future__ import annotations

from typing import Any

import click

from mqauth.cli.output import examples, json_option, print_json, print_table
from mqauth.config.options import environment_name
from mqauth.config.registry import provider_class, provider_names
from mqauth.errors import ConfigurationError
from mqauth.provider import Option


@click.command(
    short_help="List installed providers and their options.",
    epilog=examples(
        "mqauth providers",
        "mqauth providers aws-iam",
        "mqauth providers --json",
    ),
)
@click.argument("names", metavar="[PROVIDER]...", nargs=-1, type=click.Choice(provider_names()))
@json_option
def command(*, names: tuple[str, ...], as_json: bool) -> None:
    """List the installed providers; of each PROVIDER named, its options with their defaults."""
    found = [describe(name) for name in names or provider_names()]
    if as_json:
        print_json(found)
    elif names:
        for number, provider in enumerate(found):
            if number:
                click.echo()
            _print_options(provider)
    else:
        print_table(
            ("provider", "usable", "what it is"),
            [(p["name"], _usable(p), p["summary"] or p["problem"]) for p in found],
        )


def describe(name: str) -> dict[str, Any]:
    """Return what there is to know about a provider, as JSON types."""
    try:
        cls = provider_class(name)
    except ConfigurationError as error:
        return {"name": name, "summary": "", "options": [], "problem": str(error)}
    return {
        "name": name,
        "summary": (cls.__doc__ or "").strip().partition("\n")[0],
        "options": [_option(name, option) for option in cls.options],
        "problem": None,
    }


def _option(provider: str, option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "help": option.help,
        "required": option.required,
        "secret": option.secret,
        "default": None if option.secret else option.default,
        "variable": environment_name(provider, option.name) + ("_FILE" if option.secret else ""),
    }


def _usable(provider: dict[str, Any]) -> str:
    return "no" if provider["problem"] else "yes"


def _print_options(provider: dict[str, Any]) -> None:
    click.echo(click.style(provider["name"], bold=True) + f": {provider['summary']}")
    if provider["problem"]:
        click.echo(provider["problem"])
        return
    rows = [
        (option["name"], _default(option), option["variable"], option["help"])
        for option in provider["options"]
    ]
    print_table(("option", "default", "variable", "meaning"), rows)


def _default(option: dict[str, Any]) -> str:
    if option["required"]:
        return "required"
    value = option["default"]
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value else ""
