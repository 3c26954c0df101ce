"""Options of aws-iam that name a Roles Anywhere identity, checked before anything is asked."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoints

import pytest

from mqauth.aws_credentials import RolesAnywhereIdentity
from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import ConfigurationError, InsecureTransportError
from mqauth.provider import Provider
from mqauth.providers import _roles_anywhere as roles_anywhere
from mqauth.providers._aws_config import AwsIamConfig
from mqauth_sandbox.tls import CertificateFiles

COMPLETE = {
    "roles_anywhere_certificate": "/etc/pki/host.pem",
    "roles_anywhere_trust_anchor_arn": "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/"
    "0d4e2f1a-1111-2222-3333-444444444444",
    "roles_anywhere_profile_arn": "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/"
    "0d4e2f1a-5555-6666-7777-888888888888",
    "roles_anywhere_role_arn": "arn:aws:iam::123456789012:role/path/RabbitMqRole",
}


def configured(**options: object) -> AwsIamConfig:
    """Check options as the provider does."""
    return AwsIamConfig.from_options(resolve("aws-iam", explicit=options, environ={}).options)


def identity(**options: object) -> RolesAnywhereIdentity:
    """Return the identity that complete options with some changes name."""
    found = configured(**{**COMPLETE, **options}).roles_anywhere
    assert found is not None
    return found


def refusal(**options: object) -> ConfigurationError:
    """Return the error of options that cannot work."""
    with pytest.raises(ConfigurationError) as caught:
        configured(**options)
    assert caught.value.remedy
    return caught.value


@pytest.fixture
def _credproc_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """This package's tests run where credproc is not."""
    monkeypatch.setattr(roles_anywhere, "check_installed", lambda: None)


def built(**options: object) -> Provider:
    """Build the provider from complete options with some changes."""
    resolved = resolve("aws-iam", explicit={**COMPLETE, **options}, environ={})
    return provider_class("aws-iam").from_options(resolved.options)


def test_without_such_options_there_is_no_identity() -> None:
    """The default of the session's life alone names nobody."""
    assert configured(region="eu-west-1").roles_anywhere is None


def test_the_options_name_an_identity(certificates: CertificateFiles) -> None:
    """What is not given is the certificate's file, an hour, and the service's own URL."""
    found = identity(ca_file=str(certificates.ca_file))
    assert found.certificate == "/etc/pki/host.pem"
    assert found.private_key is None
    assert found.session_duration == 3600
    assert found.region == "eu-west-1"
    assert found.ca_file == str(certificates.ca_file)


def test_paths_may_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of the other providers do; a URI of PKCS#11 stays as it is."""
    monkeypatch.setenv("HOME", "/srv/celery")
    found = identity(
        roles_anywhere_certificate="~/host.pem", roles_anywhere_private_key="pkcs11:token=celery"
    )
    assert found.certificate == "/srv/celery/host.pem"
    assert found.private_key == "pkcs11:token=celery"


def test_the_environment_names_an_identity() -> None:
    """Each option has its variable, and the key's password is a secret."""
    environ = {f"MQAUTH_AWS_IAM_{name.upper()}": value for name, value in COMPLETE.items()}
    environ["MQAUTH_AWS_IAM_ROLES_ANYWHERE_KEY_PASSWORD"] = "canary"
    found = AwsIamConfig.from_options(resolve("aws-iam", environ=environ).options).roles_anywhere
    assert found is not None
    assert found.key_password is not None
    assert "canary" not in repr(found)


def test_all_that_is_missing_is_named_at_once() -> None:
    """One option alone tells which others belong to it, and their variables."""
    error = refusal(roles_anywhere_private_key="/etc/pki/host.key")
    for name in COMPLETE:
        assert name in str(error)
        assert f"MQAUTH_AWS_IAM_{name.upper()}" in str(error)


def test_a_profile_contradicts_an_identity() -> None:
    """Both would tell where the AWS credentials come from."""
    assert "profile" in str(refusal(**COMPLETE, profile="other"))


def test_an_access_key_in_the_environment_is_not_used_in_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be there for other services, so it is no error, but it is said."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    with caplog.at_level(logging.WARNING, logger="mqauth"):
        identity()
    assert "AWS_ACCESS_KEY_ID" in caplog.text


@pytest.mark.parametrize(
    "name",
    ["roles_anywhere_trust_anchor_arn", "roles_anywhere_profile_arn", "roles_anywhere_role_arn"],
)
def test_arns_in_each_other_s_place_are_refused(name: str) -> None:
    """The remedy shows what the right one looks like."""
    others = [value for other, value in COMPLETE.items() if other != name]
    for wrong in (*others, "arn:aws:iam::12:role/short", "no arn"):
        assert name in str(refusal(**{**COMPLETE, name: wrong}))


@pytest.mark.parametrize("duration", [899, 43201])
def test_sessions_have_bounds(duration: int) -> None:
    """They are AWS's own."""
    error = refusal(**COMPLETE, roles_anywhere_session_duration=duration)
    assert "900 to 43200" in str(error)


def test_sessions_never_come_in_clear() -> None:
    """Plain HTTP to another host is refused."""
    url = "http://roles.example.com"
    with pytest.raises(InsecureTransportError):
        configured(**COMPLETE, roles_anywhere_endpoint_url=url)


def test_without_credproc_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when the provider is built, not at the first login."""
    monkeypatch.setattr(roles_anywhere, "entry_points", lambda **_: EntryPoints())
    with pytest.raises(ConfigurationError, match="pip install credproc"):
        built()


@pytest.mark.usefixtures("_credproc_is_installed")
def test_each_identity_has_a_cache_file_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever decides the session counts; keys in the environment, which are not used, do not."""
    alone = built().identity
    assert COMPLETE["roles_anywhere_role_arn"] in alone
    assert "/etc/pki/host.pem" in alone
    changes: tuple[dict[str, object], ...] = (
        {"roles_anywhere_certificate": "/etc/pki/other.pem"},
        {"roles_anywhere_private_key": "/etc/pki/other.key"},
        {"roles_anywhere_profile_arn": COMPLETE["roles_anywhere_profile_arn"] + "9"},
        {"roles_anywhere_role_arn": "arn:aws:iam::123456789012:role/Other"},
        {"role_arn": "arn:aws:iam::123456789012:role/Second"},
    )
    assert len({alone, *(built(**change).identity for change in changes)}) == len(changes) + 1
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    assert built().identity == alone


def test_an_identity_shows_no_password() -> None:
    """Neither the PIN in a PKCS#11 URI nor the user of a URL is in what logs and errors show."""
    shown = repr(
        RolesAnywhereIdentity(
            certificate="pkcs11:token=robot?pin-value=1234&module-name=x",
            private_key="pkcs11:token=robot?pin-value=1234",
            endpoint_url="https://me:geheim@proxy.example",
            trust_anchor_arn="anchor",
            profile_arn="profile",
            role_arn="role",
        )
    )
    assert "1234" not in shown
    assert "geheim" not in shown
    assert "pkcs11:token=robot?pin-value=********&module-name=x" in shown
    assert "role_arn='role'" in shown
