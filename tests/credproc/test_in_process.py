"""aws-iam starting from a certificate: credproc's sessions in process, then STS, without a file."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from credproc import wire
from credproc.in_process import RolesAnywhereSession, margin
from mqauth.aws_credentials import RolesAnywhereIdentity
from mqauth.cli.root import cli
from mqauth.config.registry import provider_class
from mqauth.config.resolution import resolve
from mqauth.errors import (
    ConfigurationError,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    MQAuthError,
)
from mqauth.provider import Provider
from mqauth_sandbox.accesskeys import AccessKey
from mqauth_sandbox.faults import FaultMode
from mqauth_sandbox.pki import Container, IdentityFiles, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from tests.separate_streams import runner

Build = Callable[..., Provider]
CREDENTIAL_BROKEN = 13
"""What `mqauth doctor` exits with where no credential can be had."""
LONG = 3600.0
LIMIT = 60.0


@pytest.fixture(autouse=True)
def _own_environment(
    monkeypatch: pytest.MonkeyPatch, home: Path, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """Nothing of the developer's decides a test, and nothing but the endpoints is trusted."""
    for name in list(os.environ):
        foreign = name.startswith(("MQAUTH_", "AWS_", "CREDPROC_", "SSL_CERT"))
        if foreign or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", mqauth_rolesanywhere.sts.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_ROLESANYWHERE", mqauth_rolesanywhere.url)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(mqauth_rolesanywhere.ca_file))


@pytest.fixture
def files(mqauth_pki: Pki, tmp_path: Path) -> IdentityFiles:
    """A certificate below an intermediate, with its key."""
    return mqauth_pki.issue(depth=2).write(tmp_path)


def options(endpoint: RolesAnywhereEndpoint, files: IdentityFiles) -> dict[str, Any]:
    """Return the provider's options for an identity."""
    named = {
        "certificate": files.certificate,
        "private_key": files.private_key,
        "intermediates": files.intermediates,
        "trust_anchor_arn": endpoint.trust_anchor_arn,
        "profile_arn": endpoint.profile_arn,
        "role_arn": endpoint.role_arn,
    }
    return {f"roles_anywhere_{name}": value for name, value in named.items()}


def build(given: dict[str, Any]) -> Provider:
    """Build the provider as a source does."""
    return provider_class("aws-iam").from_options(
        resolve("aws-iam", explicit=given, environ={}).options
    )


@pytest.fixture
def worker(mqauth_rolesanywhere: RolesAnywhereEndpoint, files: IdentityFiles) -> Build:
    """Build providers for the certificate, with some options changed."""
    known = options(mqauth_rolesanywhere, files)
    return lambda **changes: build({**known, **changes})


@pytest.fixture
def session(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, files: IdentityFiles
) -> RolesAnywhereSession:
    """The session behind the provider."""
    return RolesAnywhereSession(
        RolesAnywhereIdentity(
            certificate=str(files.certificate),
            private_key=str(files.private_key),
            intermediates=str(files.intermediates),
            trust_anchor_arn=mqauth_rolesanywhere.trust_anchor_arn,
            profile_arn=mqauth_rolesanywhere.profile_arn,
            role_arn=mqauth_rolesanywhere.role_arn,
        )
    )


def test_the_thread_that_connects_does_not_end(session: RolesAnywhereSession) -> None:
    """A fork that met its end would hand the child a lock of OpenSSL's that nobody lets go of."""
    ended: list[int] = []
    connect = wire.Connection._connect

    def noting(self: wire.Connection) -> None:
        connect(self)
        ended.append(threading.get_native_id())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire.Connection, "_connect", noting)
        for _ in range(2):
            session.credentials(timeout=LIMIT, lasting=0.0)
            session.forget()
    assert len(ended) == 2
    for thread in ended:
        assert Path(f"/proc/self/task/{thread}").exists()


def opened(endpoint: RolesAnywhereEndpoint, since: int) -> list[str]:
    """Return the outcomes of the calls of CreateSession after the first `since`."""
    return [call.outcome for call in endpoint.calls[since:]]


def failure(provider: Provider, timeout: float = 10) -> MQAuthError:
    """Return the error of a fetch that must fail, after checking what holds for all of them."""
    with pytest.raises(MQAuthError) as caught:
        provider.fetch(timeout=timeout)
    error = caught.value
    assert "\n" not in str(error)
    assert error.remedy
    assert "--" not in str(error), "options of the provider, not the command's flags"
    assert error.__context__ is None
    return error


def test_a_certificate_becomes_a_token(
    worker: Build, mqauth_rolesanywhere: RolesAnywhereEndpoint, home: Path
) -> None:
    """One session serves several tokens, in the trust anchor's region, and no file is written."""
    since = len(mqauth_rolesanywhere.calls)
    provider = worker()
    first, second = provider.fetch(timeout=10), provider.fetch(timeout=10)
    assert first.principal == mqauth_rolesanywhere.role_arn
    assert first.password != second.password
    assert opened(mqauth_rolesanywhere, since) == ["ok"]
    assert list(home.rglob("*")) == []


def test_a_role_may_be_assumed_in_between(
    worker: Build, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """The session assumes another role, whose token it is then."""
    other = mqauth_rolesanywhere.sts.add_role("Broker", trusts=mqauth_rolesanywhere.role_arn)
    credentials = worker(role_arn=other).fetch(timeout=10)
    assert credentials.principal == other


@pytest.mark.parametrize("container", ["pkcs8", "encrypted-pkcs8", "pkcs12-openssl"])
def test_every_container_will_do(
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mqauth_pki: Pki,
    tmp_path: Path,
    container: Container,
) -> None:
    """The password comes as an option, like any other secret."""
    files = mqauth_pki.issue("rsa-2048").write(tmp_path, container)
    given = options(mqauth_rolesanywhere, files)
    if files.password is not None:
        given["roles_anywhere_key_password"] = files.password
    assert build(given).fetch(timeout=10).principal == mqauth_rolesanywhere.role_arn


def test_nobody_is_asked_for_a_password(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, tmp_path: Path
) -> None:
    """An encrypted key without its password is an error at once, terminal or not."""
    files = mqauth_pki.issue().write(tmp_path, "encrypted-pkcs8")
    error = failure(build(options(mqauth_rolesanywhere, files)))
    assert isinstance(error, InvalidCredentialError)
    assert "needs a password" in str(error)
    assert "roles_anywhere_key_password" in str(error)


def test_a_key_of_another_certificate(
    worker: Build, mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, tmp_path: Path
) -> None:
    """Nothing is sent with a key that does not belong to the certificate."""
    since = len(mqauth_rolesanywhere.calls)
    other = mqauth_pki.issue().write(tmp_path)
    error = failure(worker(roles_anywhere_private_key=str(other.private_key)))
    assert isinstance(error, InvalidCredentialError)
    assert error.retryable, "it may be half of a renewal"
    assert "does not belong" in str(error)
    assert opened(mqauth_rolesanywhere, since) == []


def test_an_expired_certificate(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, mqauth_pki: Pki, tmp_path: Path
) -> None:
    """It is said since when; a renewed one in its place is taken without a restart."""
    ended = datetime.now(UTC) - timedelta(hours=1)
    begun = ended - timedelta(days=1)
    old = mqauth_pki.issue(not_before=begun, not_after=ended).write(tmp_path)
    provider = build(options(mqauth_rolesanywhere, old))
    error = failure(provider)
    assert isinstance(error, InvalidCredentialError)
    assert error.retryable
    assert "expired" in str(error)

    new = mqauth_pki.issue().write(tmp_path)
    assert old.private_key is not None
    assert new.private_key is not None
    new.private_key.replace(old.private_key)
    new.certificate.replace(old.certificate)
    assert provider.fetch(timeout=10).remaining() > 0


def test_a_key_that_everybody_may_read(
    worker: Build, files: IdentityFiles, caplog: pytest.LogCaptureFixture
) -> None:
    """It is used, and said each time a session is opened."""
    assert files.private_key is not None
    files.private_key.chmod(0o644)
    with caplog.at_level(logging.WARNING, logger="credproc"):
        worker().fetch(timeout=10)
    assert f"may read the private key {files.private_key}" in caplog.text


def test_a_missing_certificate(worker: Build, tmp_path: Path) -> None:
    """The path is named; something may yet write it."""
    error = failure(worker(roles_anywhere_certificate=str(tmp_path / "none.pem")))
    assert isinstance(error, InvalidCredentialError)
    assert "none.pem" in str(error)


def test_arns_that_disagree(worker: Build, mqauth_rolesanywhere: RolesAnywhereEndpoint) -> None:
    """Two accounts cannot work, whoever tries again."""
    elsewhere = mqauth_rolesanywhere.role_arn.replace(mqauth_rolesanywhere.account_id, "9" * 12)
    error = failure(worker(roles_anywhere_role_arn=elsewhere))
    assert isinstance(error, ConfigurationError)
    assert not error.retryable
    assert "account" in str(error)


def test_an_endpoint_in_clear(worker: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's variable is no way around TLS either."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_ROLESANYWHERE", "http://roles.example.com")
    error = failure(worker())
    assert isinstance(error, ConfigurationError)
    assert "in clear" in str(error)


def test_a_refused_session(worker: Build, mqauth_rolesanywhere: RolesAnywhereEndpoint) -> None:
    """The service's reason and what to do about it arrive, and STS is not asked."""
    since = len(mqauth_rolesanywhere.sts.calls)
    mqauth_rolesanywhere.profile_enabled = False
    error = failure(worker())
    assert isinstance(error, IssuerRefusedError)
    assert not error.retryable
    assert "AccessDeniedException" in str(error)
    assert "enable trust anchor and profile" in str(error)
    assert len(mqauth_rolesanywhere.sts.calls) == since


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("error500", IssuerUnavailableError),
        ("throttle", IssuerUnavailableError),
        ("down", IssuerUnavailableError),
        ("half_body", InvalidCredentialError),
        ("html", InvalidCredentialError),
        ("empty_set", InvalidCredentialError),
        ("no_expiration", InvalidCredentialError),
    ],
)
def test_a_service_that_is_not_well(
    worker: Build,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mode: FaultMode,
    kind: type[MQAuthError],
) -> None:
    """Each fault is worth another attempt, which is left to the source: there is one call."""
    since = len(mqauth_rolesanywhere.calls)
    mqauth_rolesanywhere.faults.retry_after = 7
    with mqauth_rolesanywhere.faults.during(mode):
        error = failure(worker())
    assert isinstance(error, kind)
    assert error.retryable
    assert error.retry_after == (7 if mode == "throttle" else None)
    assert len(mqauth_rolesanywhere.calls) - since <= 1


def test_a_service_that_is_down_before(
    worker: Build, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """Refused connections are an outage, and the first fetch after it works."""
    provider = worker()
    mqauth_rolesanywhere.stop()
    assert isinstance(failure(provider), IssuerUnavailableError)
    mqauth_rolesanywhere.start()
    assert provider.fetch(timeout=10).remaining() > 0


def test_a_service_that_hangs(worker: Build, mqauth_rolesanywhere: RolesAnywhereEndpoint) -> None:
    """A fetch ends in its time."""
    started = time.monotonic()
    with mqauth_rolesanywhere.faults.during("hang"):
        assert isinstance(failure(worker(), timeout=1.5), IssuerUnavailableError)
    assert time.monotonic() - started < 15  # it would never end


def test_a_server_that_is_not_trusted(
    worker: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Trying again changes nothing, and the remedy names the variable."""
    others = tmp_path / "others.pem"
    others.write_bytes(Pki().root.public_bytes(Encoding.PEM))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(others))
    error = failure(worker())
    assert isinstance(error, IssuerUnavailableError)
    assert not error.retryable
    assert "AWS_CA_BUNDLE" in str(error)


@pytest.mark.parametrize("mode", ["error500", "hang"])
def test_a_service_that_is_down_during(
    worker: Build,
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
    mode: FaultMode,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A session that is due goes on being used while it lasts, also where the service hangs."""
    mqauth_rolesanywhere.session_lifetime = 90
    provider = worker()
    provider.fetch(timeout=10)
    inner = provider._aws_identity  # type: ignore[attr-defined]
    inner._lifetime = LONG  # as if the session had been a long one that is about to end
    with (
        mqauth_rolesanywhere.faults.during(mode),
        caplog.at_level(logging.WARNING, logger="credproc"),
    ):
        token = provider.fetch(timeout=12)
        again = time.monotonic()
        provider.fetch(timeout=12)
    assert 60 <= token.lifetime <= 90
    assert "the old one lasts" in caplog.text
    assert time.monotonic() - again < 5, "the next fetch does not wait for the same outage again"


def test_a_session_is_replaced_ahead_of_its_end(
    session: RolesAnywhereSession, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """With 15 minutes or less to go, or less than what is needed, the next one is opened."""
    since = len(mqauth_rolesanywhere.calls)
    mqauth_rolesanywhere.session_lifetime = 1800
    session.credentials(timeout=10, lasting=60)
    session.credentials(timeout=10, lasting=1700)
    assert opened(mqauth_rolesanywhere, since) == ["ok"]
    session.credentials(timeout=10, lasting=1799.9)
    assert opened(mqauth_rolesanywhere, since) == ["ok"], "no session could last so long"
    session.forget()
    session.credentials(timeout=10, lasting=60)
    assert opened(mqauth_rolesanywhere, since) == ["ok", "ok"]


@pytest.mark.parametrize(
    ("lifetime", "lasting", "expected"),
    [(3600, 360, 905), (3600, 2000, 2000), (3600, 3660, 1200), (900, 360, 300)],
)
def test_more_than_15_minutes_are_left_where_sessions_allow_it(
    lifetime: float, lasting: float, expected: float
) -> None:
    """Short sessions are used until a third is left."""
    assert margin(lifetime, lasting) == expected


def test_many_threads_open_one_session(
    session: RolesAnywhereSession, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """Whoever comes while one opens it takes the same."""
    since = len(mqauth_rolesanywhere.calls)
    found: set[str] = set()
    threads = [
        threading.Thread(
            target=lambda: found.add(session.credentials(timeout=10, lasting=0).access_key_id)
        )
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1
    assert opened(mqauth_rolesanywhere, since) == ["ok"]


def test_a_session_that_sts_refuses_is_replaced(
    worker: Build, mqauth_rolesanywhere: RolesAnywhereEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its expiration said: AWS has the last word, and one fetch suffices."""
    since = len(mqauth_rolesanywhere.calls)
    sts, keys = mqauth_rolesanywhere.sts, list[AccessKey]()
    provider = worker()
    session = provider._identity_of_this_process()  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(sts, "accept", keys.append)
        session.credentials(timeout=10, lasting=0)
    sts.accept(replace(keys[0], expires_at=time.time() - 1))
    assert provider.fetch(timeout=10).remaining() > 0
    assert opened(mqauth_rolesanywhere, since) == ["ok", "ok"]


def test_the_first_error_of_a_chain_names_its_link(
    worker: Build, mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """Roles Anywhere or STS: the message tells which of both said no."""
    provider = worker()
    mqauth_rolesanywhere.sts.federation_enabled = False
    try:
        assert "GetWebIdentityToken" in str(failure(provider))
    finally:
        mqauth_rolesanywhere.sts.federation_enabled = True


def doctor(given: dict[str, Any]) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code of `mqauth doctor` and its findings by link."""
    arguments = [f"--option={name}={value}" for name, value in given.items() if value]
    result = runner().invoke(cli, ["doctor", "aws-iam", "--json", *arguments])
    report = json.loads(result.stdout)
    return result.exit_code, {finding["link"]: finding for finding in report["links"]}


def test_doctor_shows_each_step(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, files: IdentityFiles
) -> None:
    """Certificate, session and token stand one below the other, nothing secret among them."""
    code, links = doctor(options(mqauth_rolesanywhere, files))
    assert code == 0
    steps = ["certificate", "AWS credentials", "token"]
    assert list(links) == ["options", "issuer", "clock", *steps]
    assert "CN=host.example.com" in links["certificate"]["detail"]
    assert "1 intermediate" in links["certificate"]["detail"]
    assert "CreateSession" in links["AWS credentials"]["detail"]
    assert "GetWebIdentityToken" in links["token"]["detail"]
    assert "eyJ" not in json.dumps(links)


def test_doctor_stops_at_the_broken_step(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, files: IdentityFiles, mqauth_pki: Pki
) -> None:
    """A foreign key, a refused session, a refused token: each at its own link, with its remedy."""
    given = options(mqauth_rolesanywhere, files)
    other = mqauth_pki.issue().write(files.certificate.parent)
    code, links = doctor({**given, "roles_anywhere_private_key": other.private_key})
    assert code == CREDENTIAL_BROKEN
    assert list(links)[-1] == "certificate"
    mqauth_rolesanywhere.trust_anchor_enabled = False
    code, links = doctor(given)
    assert code == CREDENTIAL_BROKEN
    assert list(links)[-1] == "AWS credentials"
    assert "enable" in links["AWS credentials"]["remedy"]
    mqauth_rolesanywhere.trust_anchor_enabled = True
    mqauth_rolesanywhere.sts.federation_enabled = False
    try:
        code, links = doctor(given)
    finally:
        mqauth_rolesanywhere.sts.federation_enabled = True
    assert code == CREDENTIAL_BROKEN
    assert list(links)[-1] == "token"


PATCH = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all(); from gevent import spawn, sleep",
    "eventlet": "import eventlet; eventlet.monkey_patch(); from eventlet import spawn, sleep",
}
PROGRAM = """
import json, sys
from mqauth.config.resolution import resolve
from mqauth.config.registry import provider_class

provider = provider_class("aws-iam").from_options(
    resolve("aws-iam", explicit=json.load(sys.stdin)).options
)
provider.fetch(timeout=20)  # loads the libraries
provider._aws_identity.forget()
ticks = []

def tick():
    while True:
        sleep(0.02)
        ticks.append(1)

spawn(tick)
credentials = provider.fetch(timeout=20)
print(json.dumps({"ticks": len(ticks), "remaining": credentials.remaining()}))
"""


@pytest.mark.parametrize("library", sorted(PATCH))
def test_other_green_threads_go_on(
    mqauth_rolesanywhere: RolesAnywhereEndpoint, files: IdentityFiles, library: str
) -> None:
    """While the service takes its time, only who wants the session waits."""
    given = {name: str(value) for name, value in options(mqauth_rolesanywhere, files).items()}
    mqauth_rolesanywhere.faults.delay = 3.0
    with mqauth_rolesanywhere.faults.during("slow"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PATCH[library] + PROGRAM],
            input=json.dumps(given),
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    answer = json.loads(done.stdout)
    assert answer["remaining"] > 0
    assert answer["ticks"] >= 20
