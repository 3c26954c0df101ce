"""The broker configured as AWS gives it for Amazon MQ, trusting the sandbox's STS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import amqp
import boto3
import pytest
import urllib3

from mqauth_sandbox import AWS_EXAMPLE_ALIAS_SCOPES, CELERY_ALIAS_SCOPES, Sandbox

LIMIT = 10.0


@contextmanager
def sandbox_with(request: pytest.FixtureRequest, scopes: Sequence[str]) -> Iterator[Sandbox]:
    """Run a sandbox whose role's alias stands for `scopes`."""
    which = str(request.config.getoption("--mqauth-broker"))
    with Sandbox(broker=which, broker_auth="amazonmq", alias_scopes=scopes) as sandbox:
        yield sandbox


def role_token(sandbox: Sandbox) -> str:
    """Assume the role and return a web identity token, as AWS's procedure does."""
    user = boto3.client(
        "sts",
        region_name=sandbox.sts.region,
        endpoint_url=sandbox.sts.url,
        verify=str(sandbox.ca_file),
        aws_access_key_id=sandbox.sts.access_key_id,
        aws_secret_access_key=sandbox.sts.secret_access_key,
    )
    assumed = user.assume_role(RoleArn=sandbox.sts.role_arn, RoleSessionName="test")["Credentials"]
    role = boto3.client(
        "sts",
        region_name=sandbox.sts.region,
        endpoint_url=sandbox.sts.url,
        verify=str(sandbox.ca_file),
        aws_access_key_id=assumed["AccessKeyId"],
        aws_secret_access_key=assumed["SecretAccessKey"],
        aws_session_token=assumed["SessionToken"],
    )
    answer = role.get_web_identity_token(
        Audience=["rabbitmq"], SigningAlgorithm="ES384", DurationSeconds=300
    )
    return str(answer["WebIdentityToken"])


@contextmanager
def channel_over_tls(sandbox: Sandbox, token: str) -> Iterator[amqp.Channel]:
    """Open a channel over AMQPS with the token as password and an empty user name."""
    connection = amqp.Connection(
        f"localhost:{sandbox.broker.amqps_port}",
        userid="",
        password=token,
        login_method="PLAIN",
        connect_timeout=LIMIT,
        ssl={"ca_certs": str(sandbox.ca_file), "server_hostname": "localhost"},
    )
    try:
        connection.connect()
        yield connection.channel()
    finally:
        connection.collect()


def publish_to_topic(channel: amqp.Channel) -> None:
    """Publish an event as a Celery worker does, and wait for the broker's opinion."""
    channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
    channel.basic_publish_confirm(
        amqp.Message("{}"), "celeryev", "worker.online", confirm_timeout=LIMIT
    )


def test_the_role_may_do_what_celery_needs(request: pytest.FixtureRequest) -> None:
    """With three-segment scopes the role's token publishes to topics and opens the HTTP API."""
    with sandbox_with(request, CELERY_ALIAS_SCOPES) as sandbox:
        token = role_token(sandbox)
        with channel_over_tls(sandbox, token) as channel:
            publish_to_topic(channel)
            (row,) = sandbox.broker.connections()
            assert row["user"] == sandbox.sts.role_arn
        answer = urllib3.request(
            "GET",
            f"http://localhost:{sandbox.broker.management_port}/api/overview",
            headers=urllib3.make_headers(basic_auth=f":{token}"),
            timeout=LIMIT,
        )
        assert answer.status == 200
        with (
            pytest.raises(amqp.exceptions.AccessRefused),
            channel_over_tls(sandbox, sandbox.issuer.mint()),
        ):
            pass


def test_the_scopes_of_aws_own_example_are_not_enough(request: pytest.FixtureRequest) -> None:
    """With AWS's two-segment scopes queues work, but no event reaches the topic exchange."""
    with sandbox_with(request, AWS_EXAMPLE_ALIAS_SCOPES) as sandbox:
        token = role_token(sandbox)
        with channel_over_tls(sandbox, token) as channel:
            queue = channel.queue_declare(exclusive=True).queue
            channel.basic_publish_confirm(
                amqp.Message("x"), routing_key=queue, confirm_timeout=LIMIT
            )
            with pytest.raises(amqp.exceptions.AccessRefused, match="access to topic"):
                publish_to_topic(channel)
