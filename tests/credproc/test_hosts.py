"""Which host is asked, through which proxy: seen from the proxy, beside AWS's own helper."""

from __future__ import annotations

from urllib.parse import urlsplit

import botocore.session
import pytest

from mqauth_sandbox.pki import IdentityFiles, Pki
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from tests.credproc.cases import PARTITIONS
from tests.credproc.connect_proxy import connect_proxy
from tests.credproc.programs import Program

FIPS = {"AWS_USE_FIPS_ENDPOINT": "true"}
DUAL = {"AWS_USE_DUALSTACK_ENDPOINT": "true"}


@pytest.fixture
def identity(mqauth_pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> IdentityFiles:
    """A good identity."""
    return mqauth_pki.issue().write(tmp_path_factory.mktemp("identity"))


def arns(endpoint: RolesAnywhereEndpoint, identity: IdentityFiles) -> list[str]:
    """Return a good command line that does not name the endpoint."""
    arguments = endpoint.arguments()
    where = arguments.index("--endpoint")
    del arguments[where : where + 2]
    return ["credential-process", *arguments, *identity.arguments(), "--with-proxy"]


# The helper does not know the newest partition's suffix.
HOSTS: list[tuple[str, str, dict[str, str]]] = [
    *((name, region, {}) for name, region in PARTITIONS.items() if name != "aws-eusc"),
    ("aws", "us-east-1", FIPS),
    ("aws-us-gov", "us-gov-east-1", FIPS),
    ("aws", "eu-west-1", DUAL),
    ("aws", "us-west-2", {**FIPS, **DUAL}),
    ("aws-cn", "cn-northwest-1", DUAL),
]


@pytest.mark.parametrize(("partition", "region", "environment"), HOSTS)
def test_the_same_host_as_the_helper(
    partition: str,
    region: str,
    environment: dict[str, str],
    programs: list[Program],
    command_at: list[str],
) -> None:
    """Partition, region, FIPS and dual-stack lead both programs to the same host."""
    arguments = [
        word.replace("arn:aws:", f"arn:{partition}:").replace("eu-west-1", region)
        for word in command_at
    ]
    wanted = []
    for program in programs:
        with connect_proxy() as proxy:
            url = f"http://127.0.0.1:{proxy.port}"
            outcome = program(
                *arguments, env={**environment, "HTTPS_PROXY": url, "AWS_MAX_ATTEMPTS": "1"}
            )
            assert outcome.code != 0
        wanted.append(proxy.wanted)
    assert wanted[1] == wanted[0]
    assert len(wanted[1]) == 1


@pytest.fixture
def programs(credproc: Program, helper: Program) -> list[Program]:
    """Both."""
    return [helper, credproc]


@pytest.fixture
def command_at(mqauth_rolesanywhere: RolesAnywhereEndpoint, identity: IdentityFiles) -> list[str]:
    """A command line without an endpoint."""
    return arns(mqauth_rolesanywhere, identity)


HOST = "rolesanywhere.eu-west-1.amazonaws.com:443"


def test_through_a_proxy(
    programs: list[Program],
    command_at: list[str],
    mqauth_rolesanywhere: RolesAnywhereEndpoint,
) -> None:
    """With --with-proxy both open a session through HTTPS_PROXY and prove themselves to it."""
    port = urlsplit(mqauth_rolesanywhere.url).port
    assert port
    for program in programs:
        with connect_proxy("secret", {HOST: port}) as proxy:
            url = f"http://user:secret@127.0.0.1:{proxy.port}"
            # Here the certificate is localhost's, and the host a name of AWS's.
            outcome = program(*command_at, "--no-verify-ssl", env={"HTTPS_PROXY": url})
            assert outcome.code == 0, outcome.stderr
            assert proxy.wanted == [HOST]
        assert mqauth_rolesanywhere.calls[-1].request.headers["Host"] == HOST.removesuffix(":443")


def test_a_proxy_that_refuses(credproc: Program, command_at: list[str]) -> None:
    """A proxy that wants a password is named with the remedy, and never its password."""
    with connect_proxy("secret", {}) as proxy:
        url = f"http://user:wrong@127.0.0.1:{proxy.port}"
        outcome = credproc(*command_at, env={"HTTPS_PROXY": url})
    assert outcome.code == 5
    assert "407" in outcome.stderr
    assert "HTTPS_PROXY" in outcome.stderr
    assert "wrong" not in outcome.stderr


def test_no_proxy_unless_asked_for(
    credproc: Program, command_at: list[str], mqauth_rolesanywhere: RolesAnywhereEndpoint
) -> None:
    """Without --with-proxy the variable changes nothing."""
    arguments = [word for word in command_at if word != "--with-proxy"]
    # Not `localhost`, which no proxy is asked for anyway.
    elsewhere = mqauth_rolesanywhere.url.replace("localhost", "127.0.0.2")
    with connect_proxy() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        outcome = credproc(*arguments, "--endpoint", elsewhere, env={"HTTPS_PROXY": url})
        assert proxy.wanted == []
    assert outcome.code == 5


@pytest.mark.parametrize("partition", PARTITIONS)
def test_hosts_of_every_partition(partition: str, credproc: Program, command_at: list[str]) -> None:
    """Botocore's own data say which host is a region's; the helper's do not know the newest."""
    region = PARTITIONS[partition]
    arguments = [
        word.replace("arn:aws:", f"arn:{partition}:").replace("eu-west-1", region)
        for word in command_at
    ]
    client = botocore.session.Session().create_client(
        "rolesanywhere", region, aws_access_key_id="none", aws_secret_access_key="none"
    )
    host = urlsplit(client.meta.endpoint_url).hostname
    with connect_proxy() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        credproc(*arguments, env={"HTTPS_PROXY": url, "AWS_MAX_ATTEMPTS": "1"})
        assert proxy.wanted == [f"{host}:443"]
