"""`mqauth amazonmq setup` against moto's IAM and MQ and the sandbox's STS and federation."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import Result
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.mq.models import Broker, mq_backends
from moto.server import ThreadedMotoServer

from mqauth.amazonmq_setup.account import Account, BrokerState
from mqauth.amazonmq_setup.broker_conf import SignIn, with_sign_in
from mqauth.amazonmq_setup.procedure import Procedure, Wanted
from mqauth.cli.root import cli
from mqauth.errors import ConfigurationError, IssuerRefusedError, IssuerUnavailableError
from mqauth.rotation.source import CredentialSource
from mqauth_sandbox.account import AwsAccount
from mqauth_sandbox.tls import CertificateFiles
from tests.separate_streams import runner

ROLE = "arn:aws:iam::123456789012:role/RabbitMqAdminRole"

FACTORY_CONF = "# what Amazon MQ writes\nconsumer_timeout = 1800000\n"


@dataclass(frozen=True, kw_only=True)
class World:
    """The account, and a broker in it."""

    account: AwsAccount
    broker_id: str
    configuration: str

    def client(self, service: Any) -> Any:
        """Return a client of a service."""
        return boto3.Session().client(service, region_name=self.account.region)

    def conf(self) -> str:
        """Return the configuration that the broker runs with."""
        mq = self.client("mq")
        current = mq.describe_broker(BrokerId=self.broker_id)["Configurations"]["Current"]
        found = mq.describe_configuration_revision(
            ConfigurationId=current["Id"], ConfigurationRevision=str(current["Revision"])
        )
        return base64.b64decode(found["Data"]).decode()

    def moto_broker(self) -> Broker:
        """Return the broker as moto holds it."""
        found: Broker = mq_backends[DEFAULT_ACCOUNT_ID][self.account.region].brokers[self.broker_id]
        return found

    def calls(self) -> list[str]:
        """Return all calls so far that change something."""
        reading = ("Get", "mq:GET", "iam:Get")
        return [str(c.action) for c in self.account.calls if not str(c.action).startswith(reading)]


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The URL of moto's server in this process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


@pytest.fixture
def world(
    moto: str, certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[World]:
    """An account that runs, with the environment of its operator."""
    account = AwsAccount(
        certificate=certificates.certificate_file,
        private_key=certificates.key_file,
        upstream=moto,
    )
    try:
        with account:
            settings = {
                "AWS_ENDPOINT_URL": account.url,
                "AWS_CA_BUNDLE": str(certificates.ca_file),
                "AWS_ACCESS_KEY_ID": account.access_key_id,
                "AWS_SECRET_ACCESS_KEY": account.secret_access_key,
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_CONFIG_FILE": str(tmp_path / "none"),
                "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
            }
            for name, value in settings.items():
                monkeypatch.setenv(name, value)
            yield _with_broker(account)
    finally:
        _forget_all()


def _with_broker(account: AwsAccount) -> World:
    mq = boto3.Session().client("mq", region_name=account.region)
    made = mq.create_configuration(Name="conf", EngineType="RABBITMQ", EngineVersion="3.13")
    revision = mq.update_configuration(
        ConfigurationId=made["Id"], Data=base64.b64encode(FACTORY_CONF.encode()).decode()
    )["LatestRevision"]["Revision"]
    broker = mq.create_broker(
        BrokerName="jobs",
        EngineType="RABBITMQ",
        EngineVersion="3.13",
        AutoMinorVersionUpgrade=True,
        DeploymentMode="SINGLE_INSTANCE",
        HostInstanceType="mq.m5.large",
        PubliclyAccessible=False,
        Configuration={"Id": made["Id"], "Revision": revision},
        Users=[{"Username": "admin", "Password": "not-used-here"}],
    )
    return World(account=account, broker_id=broker["BrokerId"], configuration=made["Id"])


def _forget_all() -> None:
    for name in ("mq", "iam"):
        for backends in get_backend(name).values():
            for backend in backends.values():
                backend.reset()


def mqauth(*arguments: str, answer: str | None = None) -> Result:
    """Run the command."""
    return runner().invoke(cli, arguments, input=answer)


def setup(world: World, *options: str, answer: str | None = None) -> Result:
    """Run the set-up for the world's broker."""
    region = ("--region", world.account.region)
    return mqauth("amazonmq", "setup", world.broker_id, *region, *options, answer=answer)


def report(world: World, *options: str) -> dict[str, Any]:
    """Run the set-up and return its JSON."""
    done = setup(world, "--json", *options)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_dry_run_shows_all_and_changes_nothing(world: World) -> None:
    """By default the difference between is and ought is shown, line by line."""
    before = world.calls()
    done = setup(world)
    assert done.exit_code == 0, done.output
    assert world.calls() == before
    for line in (
        "-disabled",
        "+enabled: https://<known once federation is enabled>",
        '+        "sts:GetWebIdentityToken",',
        '+        "AWS": "arn:aws:iam::123456789012:user/operator"',
        " consumer_timeout = 1800000",
        "+auth_backends.1 = oauth2",
        "+auth_backends.2 = internal",
        f"+auth_oauth2.scope_aliases.1.alias = {ROLE}",
        "(the broker reboots)",
        "5 changes are due; --apply makes them",
    ):
        assert line in done.stdout, done.stdout


def test_apply_makes_everything_and_a_second_run_nothing(world: World) -> None:
    """After one run a token of the role's can be had; a second run changes nothing."""
    first = report(world, "--apply", "--yes")
    assert first["due"] == len(first["done"]) == 5
    assert first["role_arn"] == ROLE
    assert world.conf() == FACTORY_CONF + (
        "auth_backends.1 = oauth2\n"
        "auth_backends.2 = internal\n"
        f"auth_oauth2.jwks_url = {world.account.jwks_uri}\n"
        "auth_oauth2.resource_server_id = rabbitmq\n"
        "auth_oauth2.scope_prefix = rabbitmq/\n"
        "auth_oauth2.additional_scopes_key = sub\n"
        "auth_oauth2.https.hostname_verification = wildcard\n"
        "management.oauth_enabled = true\n"
        f"auth_oauth2.scope_aliases.1.alias = {ROLE}\n"
        "auth_oauth2.scope_aliases.1.scope = rabbitmq/tag:administrator rabbitmq/read:*/*/* "
        "rabbitmq/write:*/*/* rabbitmq/configure:*/*/*\n"
    )
    assert f"mq:POST /v1/brokers/{world.broker_id}/reboot" in world.calls()

    before = world.calls()
    second = report(world, "--apply", "--yes")
    assert (second["due"], second["done"]) == (0, [])
    assert world.calls() == before
    assert "everything is as it ought to be" in setup(world).stdout

    config = {"provider": "aws-iam", "role_arn": ROLE, "region": world.account.region}
    source = CredentialSource.from_config({**config, "cache": False})
    try:
        assert source.get().principal == ROLE
    finally:
        source.close()


def test_nothing_is_deleted_ever(world: World) -> None:
    """Whatever it does, it asks AWS to delete, detach or disable nothing."""
    report(world, "--apply", "--yes")
    assert not [c for c in world.calls() if "Delete" in c or "Detach" in c or "Disable" in c]


def test_it_asks_before_it_changes(world: World) -> None:
    """Without --yes an operator is asked; who says no has changed nothing."""
    before = world.calls()
    done = setup(world, "--apply", answer="n\n")
    assert done.exit_code == 1
    assert "make 5 changes; the broker reboots?" in done.stderr
    assert world.calls() == before
    assert setup(world, "--apply", answer="y\n").exit_code == 0
    assert report(world)["due"] == 0


def test_json_needs_a_yes(world: World) -> None:
    """Where nothing is shown before it is asked for, the operator has to have agreed before."""
    done = setup(world, "--apply", "--json")
    assert (done.exit_code, "--yes" in done.stderr) == (2, True)


def test_the_region_has_to_be_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any region the remedy is the broker's host name; containers know it as AWS_REGION."""
    done = mqauth("amazonmq", "setup", world.broker_id)
    assert (done.exit_code, "--region" in done.stderr) == (2, True)
    monkeypatch.setenv("AWS_REGION", world.account.region)
    assert mqauth("amazonmq", "setup", world.broker_id).exit_code == 0


def test_what_was_there_stays(world: World) -> None:
    """Other principals, other permissions and other aliases are kept; ours are added."""
    iam, mq = world.client("iam"), world.client("mq")
    others = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    }
    policy = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    iam.create_role(
        RoleName="RabbitMqAdminRole",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": others}),
    )
    iam.put_role_policy(
        RoleName="RabbitMqAdminRole",
        PolicyName="RabbitMqAdminRolePolicy",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [policy]}),
    )
    conf = (
        "auth_backends.1 = ldap\n"
        "auth_oauth2.scope_aliases.3.alias = other\n"
        "auth_oauth2.scope_aliases.3.scope = rabbitmq/read:a/*\n"
    )
    revision = mq.update_configuration(
        ConfigurationId=world.configuration, Data=base64.b64encode(conf.encode()).decode()
    )["LatestRevision"]["Revision"]
    mq.update_broker(
        BrokerId=world.broker_id,
        Configuration={"Id": world.configuration, "Revision": revision},
    )

    report(world, "--apply", "--yes", "--scope", "rabbitmq/read:prod/*/*")
    trust = iam.get_role(RoleName="RabbitMqAdminRole")["Role"]["AssumeRolePolicyDocument"]
    assert trust["Statement"][0] == others
    assert trust["Statement"][1]["Principal"] == {"AWS": world.account.user_arn}
    written = iam.get_role_policy(
        RoleName="RabbitMqAdminRole", PolicyName="RabbitMqAdminRolePolicy"
    )["PolicyDocument"]
    assert written["Statement"][0] == policy
    lines = world.conf().splitlines()
    assert {"auth_backends.1 = oauth2", "auth_backends.2 = ldap"} <= set(lines)
    assert conf.splitlines()[1] in lines
    assert "auth_oauth2.scope_aliases.4.scope = rabbitmq/read:prod/*/*" in lines

    report(world, "--apply", "--yes", "--scope", "rabbitmq/read:other/*/*")
    assert "auth_oauth2.scope_aliases.4.scope = rabbitmq/read:other/*/*" in world.conf()
    assert "scope_aliases.5" not in world.conf()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("auth_oauth2.jwks_url", "https://login.example.com/keys"),
        ("auth_oauth2.issuer", "https://login.example.com"),
        ("auth_oauth2.oauth_providers.corp.issuer", "https://login.example.com"),
        ("auth_oauth2.signing_keys.one", "/etc/rabbitmq/one.pem"),
    ],
)
def test_a_broker_that_trusts_another_issuer_is_left_alone(
    world: World, key: str, value: str
) -> None:
    """Whoever signs in by another issuer would be locked out: that is for an operator to decide."""
    conf = f"{key} = {value}\n"
    mq = world.client("mq")
    revision = mq.update_configuration(
        ConfigurationId=world.configuration, Data=base64.b64encode(conf.encode()).decode()
    )["LatestRevision"]["Revision"]
    mq.update_broker(
        BrokerId=world.broker_id,
        Configuration={"Id": world.configuration, "Revision": revision},
    )
    world.account.federation_enabled = True
    done = setup(world, "--apply", "--yes")
    assert done.exit_code == 2
    assert f"{key} ({value})" in done.stderr
    assert world.conf() == conf


def test_an_interrupted_run_is_taken_up(world: World) -> None:
    """A revision that was made but not taken is used by the next run, not made again."""
    procedure = Procedure(Account(region=world.account.region), Wanted(broker_id=world.broker_id))
    steps = procedure.apply(lambda _: None)
    titles = [next(steps).title for _ in range(4)]
    steps.close()  # type: ignore[attr-defined]
    assert titles[-1] == f"configuration {world.configuration}"
    left = report(world)
    assert [step["due"] for step in left["steps"]] == [False] * 4 + [True]
    revisions = len(
        world.client("mq").list_configuration_revisions(ConfigurationId=world.configuration)[
            "Revisions"
        ]
    )
    report(world, "--apply", "--yes")
    assert revisions == len(
        world.client("mq").list_configuration_revisions(ConfigurationId=world.configuration)[
            "Revisions"
        ]
    )
    assert report(world)["due"] == 0


def test_the_reboot_is_waited_for(world: World) -> None:
    """Progress is told until the broker is back; one that does not come back is named."""
    world.moto_broker().state = "REBOOT_IN_PROGRESS"
    account = Account(region=world.account.region)
    said: list[str] = []
    looked = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if "REBOOT_IN_PROGRESS" in line:
            world.moto_broker().state = "RUNNING"
            looked.set()

    wanted = Wanted(broker_id=world.broker_id)
    list(Procedure(account, wanted, poll_every=0.01).apply(say))
    assert looked.is_set()
    assert said[-1].startswith("the broker is back after")

    world.moto_broker().state = "REBOOT_IN_PROGRESS"
    wanted = Wanted(broker_id=world.broker_id, role="Other", reboot_timeout=0.05)
    with pytest.raises(IssuerUnavailableError, match="not back with revision"):
        list(Procedure(account, wanted, poll_every=0.01).apply(lambda _: None))


def reboots(world: World) -> int:
    """Return how often the broker was rebooted."""
    return len([call for call in world.calls() if call.endswith("/reboot")])


def test_without_a_reboot(world: World) -> None:
    """An operator may choose the moment of the reboot, before which nobody can sign in."""
    assert report(world, "--apply", "--yes", "--no-reboot")["awaits_reboot"]
    assert not reboots(world)


def test_what_is_left_without_a_reboot(world: World) -> None:
    """As long as the broker has not rebooted it is not said that all is as it ought to be."""
    done = setup(world, "--apply", "--yes", "--no-reboot")
    assert done.exit_code == 0, done.output
    assert "nobody can sign in before the broker's next reboot" in done.stdout
    assert "as it ought to be" not in done.stdout


def test_a_reboot_under_way_is_only_waited_for(world: World) -> None:
    """A run that is taken up while the broker reboots into its revision reboots it not again."""
    report(world, "--apply", "--yes")
    assert reboots(world) == 1
    account = Account(region=world.account.region)
    broker_id, done = world.broker_id, account.broker(world.broker_id)
    rebooting = replace(
        done, state="REBOOT_IN_PROGRESS", revision=done.revision - 1, pending=done.revision
    )
    states = iter([rebooting] * 4)

    class Rebooting(Account):
        def broker(self, _: str) -> BrokerState:
            return next(states, done)

    said: list[str] = []
    procedure = Procedure(
        Rebooting(region=world.account.region), Wanted(broker_id=broker_id), poll_every=0.01
    )
    assert [step.title for step in procedure.apply(said.append)] == [f"broker {broker_id}"]
    assert said[-1].startswith("the broker is back")
    assert reboots(world) == 1


def sign_in(conf: str) -> str:
    """Return a configuration with sign-in by IAM added."""
    wanted = SignIn(issuer="https://i", audience="rabbitmq", role_arn=ROLE, scopes=("rabbitmq/a",))
    return with_sign_in(conf, wanted)


HALVES = ("auth_backends.1.authn = internal", "auth_backends.1.authz = http")
CRLF = ("# who signs in", " auth_backends.2 = internal # last", "auth_backends.1.authn = ldap", "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "auth_backends.1 = oauth2\nauth_backends.2 = internal\n"),
        (
            "\n".join(HALVES),
            "\n".join(["auth_backends.1 = oauth2", *HALVES, ""]).replace("1.auth", "2.auth"),
        ),
        (
            "\r\n".join(CRLF),
            "\r\n".join([CRLF[0], "auth_backends.1 = oauth2", *CRLF[1:]])
            .replace("2 = internal", "3 = internal")
            .replace("1.authn", "2.authn"),
        ),
        ("auth_backends.2 = ldap\n", "auth_backends.2 = ldap\nauth_backends.1 = oauth2\n"),
        ("auth_backends.1 = ldap", "auth_backends.1 = oauth2\nauth_backends.2 = ldap\n"),
        ("auth_backends.1 = oauth2 # us\n", "auth_backends.1 = oauth2 # us\n"),
    ],
)
def test_backends_that_are_there_stay_in_their_order(before: str, after: str) -> None:
    """OAuth 2 comes first, and no position in the chain is taken twice, or RabbitMQ boots not."""
    written = sign_in(before)
    assert written.startswith(after)
    rest = written.removeprefix(after)
    assert "auth_backends" not in rest
    assert sign_in(written) == written


def test_half_a_backend_of_tokens_is_left_alone() -> None:
    """Who signs in by token without its scopes would get other permissions: that is refused."""
    with pytest.raises(ConfigurationError, match=r"auth_backends\.1\.authz \(internal\)"):
        sign_in("auth_backends.1.authn = oauth2\nauth_backends.1.authz = internal\n")


@pytest.mark.parametrize("change", [lambda t: t.replace("\n", "\r\n"), lambda t: t.rstrip("\n")])
def test_line_ends_are_no_change(change: Callable[[str], str]) -> None:
    """Where nothing but line ends differs, there is nothing to do."""
    text = change(sign_in(FACTORY_CONF))
    assert sign_in(text) == text


def test_a_role_below_a_path(world: World) -> None:
    """The alias names the ARN that the role's tokens carry, and a trust policy the caller's."""
    trust = {"Version": "2012-10-17", "Statement": []}
    made = [
        world.client("iam").create_role(
            RoleName=name, Path=f"/{path}/", AssumeRolePolicyDocument=json.dumps(trust)
        )["Role"]["Arn"]
        for name, path in (("Jobs", "teams/a"), ("Admin", "aws-reserved/sso.amazonaws.com"))
    ]

    class AsRole(Account):
        def caller_arn(self) -> str:
            return "arn:aws:sts::123456789012:assumed-role/Admin/me"

    wanted = Wanted(broker_id=world.broker_id, role="Jobs")
    procedure = Procedure(AsRole(region=world.account.region), wanted, poll_every=0.01)
    list(procedure.apply(lambda _: None))
    assert procedure.role_arn == made[0]
    assert f"auth_oauth2.scope_aliases.1.alias = {made[0]}\n" in world.conf()
    written = world.client("iam").get_role(RoleName="Jobs")["Role"]["AssumeRolePolicyDocument"]
    assert [s["Principal"] for s in written["Statement"]] == [{"AWS": made[1]}]
    assert not any(step.due for step in procedure.plan())


def test_a_caller_whose_role_cannot_be_seen(world: World) -> None:
    """Where IAM does not tell the path of the caller's role, the operator has to."""

    class AsRole(Account):
        def caller_arn(self) -> str:
            return "arn:aws:sts::123456789012:assumed-role/Gone/me"

    account = AsRole(region=world.account.region)
    with pytest.raises(IssuerRefusedError, match="--trust ARN") as caught:
        Procedure(account, Wanted(broker_id=world.broker_id)).plan()
    assert "role Gone" in str(caught.value)
    other = Wanted(broker_id=world.broker_id, trusted=("arn:aws:iam::123456789012:role/W",))
    assert Procedure(account, other).plan()


@pytest.mark.parametrize("limit", ["nan", "inf", "0", "-1"])
def test_a_limit_that_is_none(world: World, limit: str) -> None:
    """A reboot is waited for as long as somebody can mean."""
    done = setup(world, "--timeout", limit)
    assert (done.exit_code, "--timeout" in done.stderr) == (2, True)


def test_who_may_assume_the_role(world: World) -> None:
    """Instead of the caller, others may be trusted."""
    other = "arn:aws:iam::123456789012:role/Worker"
    report(world, "--apply", "--yes", "--trust", other, "--role", "Jobs")
    trust = world.client("iam").get_role(RoleName="Jobs")["Role"]["AssumeRolePolicyDocument"]
    assert [s["Principal"] for s in trust["Statement"]] == [{"AWS": other}]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--scope", "rabbitmq/read:*\nloopback_users = none"),
        ("--scope", "two scopes"),
        ("--audience", ""),
        ("--role", "bad name!"),
        ("--trust", "notanarn"),
    ],
)
def test_what_would_break_halfway_is_refused_first(world: World, option: str, value: str) -> None:
    """Values that cannot be what they stand for change nothing, and the remedy says the form."""
    done = setup(world, "--apply", "--yes", option, value)
    assert done.exit_code == 2
    assert f"{option} " in done.stderr
    assert "(give " in done.stderr
    assert not world.account.federation_enabled


def test_a_broker_that_cannot_do_it(world: World) -> None:
    """Another engine, a version without sign-in by IAM, and no such broker are said at once."""
    broker = world.moto_broker()
    broker.engine_version = "3.12.13"
    assert "has no IAM sign-in" in setup(world).stderr
    broker.engine_type = "ACTIVEMQ"
    done = setup(world)
    assert (done.exit_code, "runs ACTIVEMQ" in done.stderr) == (2, True)
    done = mqauth("amazonmq", "setup", "b-nobody", "--region", world.account.region)
    assert done.exit_code == 3, done.output
    assert "aws mq list-brokers" in done.stderr


def test_a_caller_who_may_not(world: World) -> None:
    """Who is no administrator is told to sign in as one."""
    world.account.denied_actions = {"iam:EnableOutboundWebIdentityFederation"}
    done = setup(world, "--apply", "--yes")
    assert done.exit_code == 3
    assert "sign in as somebody who administers" in done.stderr
    account = Account(region=world.account.region)
    with pytest.raises(IssuerRefusedError, match="not authorized to perform"):
        account.enable_federation()


def test_a_configuration_that_is_none(world: World) -> None:
    """What cannot be read as rabbitmq.conf is not overwritten."""
    world.client("mq").update_configuration(ConfigurationId=world.configuration, Data="//8=")
    with pytest.raises(ConfigurationError, match="is no rabbitmq"):
        Account(region=world.account.region).configuration_text(world.configuration, 3)


def test_the_host_name_is_enough(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amazon MQ's host names hold broker and region."""
    host = f"{world.broker_id}.mq.{world.account.region}.on.aws"
    done = mqauth("amazonmq", "setup", host, "--json")
    assert json.loads(done.stdout)["due"] == 5
