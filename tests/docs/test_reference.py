"""The reference tables of the READMEs say what the code says: no more, no less."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest
from amqp.transport import SSLTransport

import mqauth
from celery_mqauth.remote_control import mqauth as inspect_mqauth
from mqauth import (
    CredentialEvent,
    MQAuthError,
    Provider,
    RotationPolicy,
    SourceStatus,
    errors,
)
from mqauth.config import source_settings
from mqauth.config.option_values import convert
from mqauth.config.registry import GROUP, provider_class, provider_names
from mqauth.provider import Option
from tests.docs.documents import PAGES, ROOT, Table, blocks, code_spans, headings, spans, table

OUR_NAME = re.compile(r"(celery_|django_)?mqauth(_sandbox)?(\.\w+)+(\(\))?")
# What Django knows by a name with a dot: ids of system checks, and a permission.
DJANGO_NAME = re.compile(r"mqauth\.([EW]\d{3}|view_credential)")
CORE = ROOT / "packages" / "mqauth" / "README.md"
CELERY = ROOT / "packages" / "celery-mqauth" / "README.md"

each_provider = pytest.mark.parametrize("name", provider_names())


def option_row(option: Option) -> list[str]:
    """Return how an option is documented."""
    name = f"`{option.name}`"
    if option.secret:
        name += f" or `{option.name}_file`"
    return [name, _default(option), option.help]


def _default(option: Option) -> str:
    if option.required:
        return "required"
    if isinstance(option.default, tuple) and option.default:
        return f"`{','.join(option.default)}`"
    if isinstance(option.default, bool):
        return f"`{str(option.default).lower()}`"
    return f"`{option.default}`" if option.default else ""


def as_markdown(rows: list[list[str]]) -> str:
    """Return rows of a table as they stand in a file."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows).replace("|  |", "| |")


def names(page_table: Table, column: int = 0) -> list[str]:
    """Return the names in a column of code spans, several to a cell where they share a row."""
    return [name for cell in page_table.column(column) for name in code_spans(cell)]


@each_provider
def test_options_are_documented(name: str) -> None:
    """Each option of a provider stands in its table, with its default and its help."""
    provider: type[Provider] = provider_class(name)
    expected = [option_row(option) for option in provider.options]
    rows = table(CORE, name).rows
    assert rows == expected, f"the table under `{name}` should be:\n{as_markdown(expected)}"


@each_provider
def test_providers_say_what_they_need_and_do(name: str) -> None:
    """Each tells its environment, permissions, what is kept where, and how it fails."""
    text = CORE.read_text().partition(f"### `{name}`\n")[2].partition("\n#")[0]
    told = dict(re.findall(r"^\*(\w+)\*([^*]+)", text, re.MULTILINE))
    assert list(told) == ["Environment", "Permissions", "Kept", "Failures"]
    assert ("host cache" in told["Kept"]) is provider_class(name).shareable
    if name != "aws-msk-iam":  # which refers to another one
        assert "ConfigurationError" in code_spans(told["Failures"])


@each_provider
def test_docstrings_name_all_options(name: str) -> None:
    """Who reads a provider's module finds every option, those of Roles Anywhere as a group."""
    provider: type[Provider] = provider_class(name)
    said = inspect.getdoc(sys.modules[provider.__module__]) or ""
    missing = [
        option.name
        for option in provider.options
        if f"`{option.name}`" not in said and not option.name.startswith("roles_anywhere_")
    ]
    assert missing == []


def test_no_other_provider_is_documented() -> None:
    """The headings under Providers are the providers that are installed."""
    found = headings(CORE)
    documented = found[found.index("Providers") + 1 : found.index("Settings of the source")]
    assert sorted(documented) == list(provider_names())


def test_settings_are_documented() -> None:
    """Each setting stands in the table with its default and its variable."""
    settings = table(CORE, "Settings of the source")
    documented = names(settings)
    assert documented == list(source_settings._PARSERS)
    assert names(settings, 2) == [source_settings.variable(setting) for setting in documented]
    defaults = dict(zip(documented, names(settings, 1), strict=True))
    policy = RotationPolicy()
    for setting in ("renew_at", "timeout"):
        assert convert(defaults[setting], float) == getattr(policy, setting)
    assert (defaults["cache"], defaults["insecure"]) == ("true", "false")


def test_errors_are_documented() -> None:
    """Each error class stands in the table, with its base and whether it is worth a retry."""
    classes = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, MQAuthError) and each is not MQAuthError
    ]
    expected = [
        [f"`{e.__name__}`", f"`{e.__base__.__name__}`", "yes" if e.retryable else "no"]
        for e in classes
        if e.__base__
    ]
    assert [row[:3] for row in table(CORE, "Errors").rows] == expected


def test_events_are_documented() -> None:
    """Each event stands in the table, with the fields that it has besides those of all."""
    common = {field.name for field in dataclasses.fields(CredentialEvent)}
    exported = (getattr(mqauth, name) for name in mqauth.__all__)
    events: dict[str, list[str]] = {
        each.__name__: [f.name for f in dataclasses.fields(each) if f.name not in common]
        for each in exported
        if isinstance(each, type) and issubclass(each, CredentialEvent)
    }
    del events["CredentialEvent"]
    rows = table(CORE, "Events").rows
    assert {code_spans(row[0])[0]: code_spans(row[2]) for row in rows} == events


def test_status_is_documented() -> None:
    """Each field of `celery inspect mqauth` stands in the table."""
    assert inspect_mqauth(None).keys() == {"sources", "queues", "recent"}
    fields = {field.name for field in dataclasses.fields(SourceStatus)}
    assert set(names(table(CELERY, "Watch it"))) == fields


def test_tls_options_exist() -> None:
    """Each TLS option in the table is one that py-amqp takes."""
    taken = inspect.signature(SSLTransport._wrap_socket_sni).parameters
    assert set(names(table(CELERY, "TLS"))) <= set(taken)


def test_recommended_settings_are_explained() -> None:
    """Each recommended setting is in the example and has its reason in the table."""
    (example,) = [b.text for b in blocks(CELERY) if b.section == "Recommended settings"]
    recommended = {line.split(" = ")[0] for line in example.splitlines() if line[0].isalpha()}
    explained = set(names(table(CELERY, "Recommended settings")))
    transport_options = {"auth.timeout", "confirm_publish"}
    assert explained - transport_options == recommended - {"broker_transport_options"}
    assert all(f'"{name.rpartition(".")[2]}"' in example for name in transport_options)


def test_named_providers_exist() -> None:
    """The transport's documentation names all providers where it says what may stand before @."""
    (line,) = [line for line in CELERY.read_text().splitlines() if line.startswith("- WHO is ")]
    assert set(provider_names()) == set(code_spans(line.partition("(")[2]))


def test_the_entry_point_group_is_right() -> None:
    """A third party's entry point, as documented, is one that the registry looks for."""
    announced = [block.text for block in blocks(CORE) if "entry-points" in block.text]
    assert len(announced) == 1
    assert f'[project.entry-points."{GROUP}"]' in announced[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_in_the_text_exist(page: Path) -> None:
    """Dotted names of ours in the text, such as `mqauth.subscribe`, lead to something."""
    ours = {name for name in spans(page) if OUR_NAME.fullmatch(name)}
    missing = [name for name in ours if not DJANGO_NAME.fullmatch(name) and not _exists(name)]
    assert missing == []


def _exists(name: str) -> bool:
    try:
        resolve_name(name.removesuffix("()"))
    except (ImportError, AttributeError):
        return False
    return True
