"""Providers as they are found and loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mqauth.config.registry import provider_class, provider_names
from mqauth.errors import ConfigurationError, UnknownProviderError


def install(where: Path, distribution: str, entry_points: str, module: str = "") -> None:
    """Lay a distribution out as an installer does, with one module named after it."""
    where.mkdir(exist_ok=True)
    metadata = where / f"{distribution}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0")
    (metadata / "entry_points.txt").write_text(f"[mqauth.providers]\n{entry_points}\n")
    (where / f"{distribution}.py").write_text(module)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed distributions."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_ours_are_found_by_name() -> None:
    """All providers of this distribution load, and say the name they are registered by."""
    assert {"aws-iam", "oauth2", "static", "token-file"} <= set(provider_names())
    for name in ("aws-iam", "oauth2", "static", "token-file"):
        assert provider_class(name).name == name


def test_an_unknown_name_gets_the_nearest() -> None:
    """A mistyped provider is answered with the nearest one and a list of all."""
    with pytest.raises(UnknownProviderError, match=r"did you mean oauth2\?") as caught:
        provider_class("oauth")
    known = "apsaramq-rrsa, aws-iam, aws-msk-iam, command, external, oauth2, static, token-file"
    assert f"(known providers: {known})" in str(caught.value)


def test_third_parties_add_theirs(site: Path) -> None:
    """A provider of another distribution is found and loaded like ours."""
    install(
        site,
        "plugin_good",
        "vault = plugin_good:Vault",
        "from mqauth.providers.static import StaticProvider\n"
        "class Vault(StaticProvider):\n    name = 'vault'\n",
    )
    assert "vault" in provider_names()
    assert provider_class("vault").name == "vault"


@pytest.mark.parametrize(
    ("distribution", "module", "complaint"),
    [
        ("plugin_syntax", "def", "SyntaxError"),
        ("plugin_raises", "1 / 0", "ZeroDivisionError"),
        ("plugin_import", "import not_there_at_all", "ModuleNotFoundError"),
        ("plugin_absent", "", "AttributeError"),
        ("plugin_value", "Vault = 7", "lacks name, options"),
        ("plugin_shape", "class Vault:\n    name = 'vault'", "lacks options"),
        (
            "plugin_name",
            "from mqauth.providers.static import StaticProvider as Vault",
            "no class named vault",
        ),
    ],
)
def test_a_broken_third_party_is_one_clear_error(
    site: Path, distribution: str, module: str, complaint: str
) -> None:
    """Whatever is wrong with another distribution, one line names it and what is wrong."""
    install(site, distribution, f"vault = {distribution}:Vault", module)
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        provider_class("vault")
    assert distribution in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_distributions_cannot_offer_the_same_provider(site: Path) -> None:
    """Which of two providers is meant is not decided by chance."""
    install(site, "plugin_one", "vault = plugin_one:Vault")
    install(site, "plugin_two", "vault = plugin_two:Vault")
    with pytest.raises(ConfigurationError, match="several distributions") as caught:
        provider_class("vault")
    assert "plugin_one" in str(caught.value)
    assert "plugin_two" in str(caught.value)


def test_the_same_entry_point_seen_twice_is_one(site: Path, tmp_path: Path) -> None:
    """An editable installation beside its build does not compete with itself."""
    module = (
        "from mqauth.providers.static import StaticProvider\n"
        "class Vault(StaticProvider):\n    name = 'vault'\n"
    )
    install(site, "plugin_twice", "vault = plugin_twice:Vault", module)
    install(site, "plugin_again", "vault = plugin_twice:Vault", module)
    assert provider_class("vault").name == "vault"


@pytest.mark.parametrize(
    ("provider", "module", "extra"),
    [
        ("oauth2", "authlib", "oauth2"),
        ("oauth2", "requests", "oauth2"),
        ("aws-iam", "boto3", "aws"),
    ],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, provider: str, module: str, extra: str
) -> None:
    """Without an optional dependency the error is the command that installs it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf'pip install "mqauth\[{extra}\]"'):
        provider_class(provider).from_options({})


def test_a_third_party_that_needs_an_extra_of_ours(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import error about one of our optional dependencies names the extra, whoever imports."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    install(site, "plugin_boto", "vault = plugin_boto:Vault", "import boto3.session")
    with pytest.raises(ConfigurationError, match=r"mqauth\[aws\]"):
        provider_class("vault")


def test_loading_providers_imports_no_heavy_library() -> None:
    """A process that finds its credential in the cache never loads boto3, requests or Authlib."""
    program = (
        "import sys\n"
        "from mqauth.config.resolution import resolve\n"
        "from mqauth.config.registry import provider_class\n"
        "aws = resolve('aws-iam', environ={})\n"
        "provider_class('aws-iam').from_options(aws.options).identity\n"
        "given = {'issuer': 'https://i', 'client_id': 'c', 'client_secret': 's'}\n"
        "oauth2 = resolve('oauth2', explicit=given, environ={})\n"
        "provider_class('oauth2').from_options(oauth2.options).identity\n"
        "print(sorted({'boto3', 'botocore', 'requests', 'urllib3', 'authlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
