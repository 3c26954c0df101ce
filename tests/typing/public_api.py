"""What users may rely on, written as they would write it.

Nobody runs this file: `make types` checks it, so that a change to the types of the public API
shows here first. tests/structure/test_public_api.py compares its imports with what is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self, assert_type

from celery_mqauth import register_schemes
from celery_mqauth.diagnosis import diagnose_app
from celery_mqauth.least.grants import RoleGrant, not_counted, role_grants
from django_mqauth import (
    broker_url,
    broker_use_ssl,
    connections,
    credential_failed,
    credential_renewed,
    source,
)
from django_mqauth.diagnosis import diagnose_alias
from mqauth import (
    BrokerCredentials,
    ConfigurationError,
    CredentialError,
    CredentialEvent,
    CredentialExpiredError,
    CredentialExpiring,
    CredentialFetched,
    CredentialRenewed,
    CredentialSource,
    Freshness,
    InsecureTransportError,
    InvalidCredentialError,
    IssuerRefusedError,
    IssuerUnavailableError,
    ManagementError,
    ManagementRefusedError,
    ManagementUnavailableError,
    MQAuthError,
    Option,
    Provider,
    RenewalFailed,
    RotationPolicy,
    Secret,
    SourceStatus,
    UnknownProviderError,
    subscribe,
)
from mqauth.diagnosis.findings import Finding
from mqauth.diagnosis.target import Target
from mqauth.diagnosis.walk import diagnose
from mqauth.permissions.credential import Asked, scopes_asked, token_asked
from mqauth.permissions.explain import Explanation, explain, explain_all
from mqauth.permissions.least_formats import as_scopes
from mqauth.permissions.questions import parse_question
from mqauth_sandbox import (
    AWS_EXAMPLE_ALIAS_SCOPES,
    CELERY_ALIAS_SCOPES,
    AlibabaSts,
    ApsaraMqAuth,
    AwsAccount,
    Broker,
    BrokerAuth,
    BrokerError,
    FaultMode,
    Faults,
    Identity,
    IdentityFiles,
    KafkaBroker,
    KafkaSandbox,
    NotInstalledError,
    OidcIssuer,
    Pki,
    RolesAnywhereEndpoint,
    Sandbox,
    SandboxError,
    StsEndpoint,
    TcpProxy,
)


def use_django() -> None:
    """Name an alias wherever a credential is needed."""
    assert_type(broker_url(), str)
    assert_type(broker_url("billing", settings={"billing": {}}), str)
    assert_type(broker_use_ssl(), dict[str, Any] | None)
    assert_type(source("billing"), CredentialSource)
    assert_type(list(connections), list[str])
    connections["billing"].connect()
    connections.close_all()
    credential_renewed.connect(print)
    credential_failed.connect(print)


def use_a_source(config: Mapping[str, Any]) -> None:
    """Build a source, take credentials from it and look at its state."""
    source = CredentialSource.from_config(config)
    assert_type(source, CredentialSource)
    assert_type(source.current, BrokerCredentials | None)
    credentials = source.get()
    assert_type(credentials, BrokerCredentials)
    source.invalidate(credentials)
    status = source.status()
    assert_type(status, SourceStatus)
    assert_type(status.freshness, Freshness | None)
    assert_type(status.remaining, float | None)
    assert_type(status.as_dict(), dict[str, Any])
    source.close()


def read_credentials(credentials: BrokerCredentials) -> None:
    """Read all that a credential says."""
    assert_type(credentials.username, str)
    assert_type(credentials.password, Secret)
    assert_type(credentials.password.reveal(), str)
    assert_type(credentials.issued_at, datetime)
    assert_type(credentials.expires_at, datetime | None)
    assert_type(credentials.principal, str | None)
    assert_type(credentials.remaining(), float)
    assert_type(credentials.expired(), bool)


def set_a_policy(provider: Provider) -> CredentialSource:
    """Renew later than usual."""
    policy = RotationPolicy(renew_at=0.5, jitter=0.1, timeout=5.0)
    return CredentialSource(provider, policy=policy)


class ThirdPartyProvider:
    """A provider as third parties write theirs, by shape and without inheriting."""

    name: ClassVar[str] = "example"
    options: ClassVar[tuple[Option, ...]] = (
        Option(name="token", help="The token.", required=True, secret=True),
        Option(name="realm", help="The realm.", default="main"),
    )
    shareable: ClassVar[bool] = True

    def __init__(self, token: Secret) -> None:
        self.token = token

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build one from validated options."""
        return cls(options["token"])

    @property
    def identity(self) -> str:
        """Say who signs in."""
        return "example"

    def fetch(self, *, timeout: float) -> BrokerCredentials:
        """Fetch nothing: the time limit is all a caller may set."""
        raise IssuerUnavailableError(f"no answer in {timeout} s", remedy="wait", retry_after=1.0)


as_provider: type[Provider] = ThirdPartyProvider


def watch() -> Callable[[], None]:
    """Subscribe to what happens and tell the events apart."""

    def hook(event: CredentialEvent) -> None:
        assert_type(event.provider, str)
        assert_type(event.expires_at, datetime | None)
        if isinstance(event, CredentialFetched):
            assert_type(event.seconds, float)
        elif isinstance(event, CredentialRenewed):
            assert_type(event.shared, bool)
        elif isinstance(event, RenewalFailed):
            assert_type(event.error, str)
            assert_type(event.retryable, bool)
            assert_type(event.retry_in, float)
        elif isinstance(event, CredentialExpiring):
            assert_type(event.remaining, float)

    return subscribe(hook)


def act_on_errors(error: MQAuthError) -> str:
    """Tell the errors apart, from the special to the general."""
    assert_type(error.retryable, bool)
    assert_type(error.retry_after, float | None)
    assert_type(error.remedy, str | None)
    match error:
        case UnknownProviderError() | InsecureTransportError() | ConfigurationError():
            return "mend the configuration"
        case IssuerRefusedError():
            return "ask the issuer's operators"
        case IssuerUnavailableError() | InvalidCredentialError() | CredentialExpiredError():
            return "wait"
        case ManagementUnavailableError():
            return "look at the broker"
        case ManagementRefusedError():
            return "ask the broker's operators"
        case CredentialError() | ManagementError() | _:
            return "look closer"


assert_type(register_schemes(), None)


def ask_what_is_allowed(token: Secret, app: Any) -> list[str]:
    """Ask what a credential may do, what an app needs, and where the chain is broken."""
    assert_type(token_asked(token), Asked)
    asked = scopes_asked(["rabbitmq.read:*/*"])
    question = parse_question("consume from queue celery")
    assert_type(explain(asked.grant, question), Explanation)
    assert_type(explain_all(asked.grant, question), tuple[Explanation, ...])
    grants = role_grants(app, ["worker"], queues=["celery"], sent=["on.demand"])
    assert_type(not_counted(app), tuple[str, ...])
    assert_type(grants, tuple[RoleGrant, ...])
    walks = [
        diagnose_app(app),
        diagnose_alias("default"),
        diagnose("billing", target=Target.parse("mqauths://h")),
    ]
    for finding in chain.from_iterable(walks):
        assert_type(finding, Finding)
        assert_type(finding.remedy, str | None)
    return as_scopes(grants[0].scopes, grants[0].vhost, "rabbitmq.")


def use_a_sandbox(auth: BrokerAuth, mode: FaultMode) -> None:
    """Start the local world, look around, and break it on purpose."""
    scopes: Sequence[str] = [*CELERY_ALIAS_SCOPES, *AWS_EXAMPLE_ALIAS_SCOPES]
    with Sandbox(broker="3", token_lifetime=20.0, broker_auth=auth, alias_scopes=scopes) as sandbox:
        assert_type(sandbox.ca_file, Path)
        assert_type(sandbox.environment(), dict[str, str])
        assert_type(sandbox.broker_url, str)
        assert_type(sandbox.broker_tls_url, str)
        look_at_the_broker(sandbox.broker)
        look_at_the_issuers(sandbox.issuer, sandbox.sts)
        use_a_proxy(sandbox.proxy(sandbox.broker.amqps_port))
        break_an_issuer(sandbox.issuer.faults, mode)
        look_at_roles_anywhere(sandbox.roles_anywhere, sandbox.pki)


def look_at_roles_anywhere(endpoint: RolesAnywhereEndpoint, pki: Pki) -> None:
    """Issue an identity and let the endpoint trust it."""
    identity = pki.issue("rsa-2048", depth=2, digest="sha384")
    assert_type(identity, Identity)
    files = identity.write(Path(), "pkcs12-openssl", password="throwaway")
    assert_type(files, IdentityFiles)
    assert_type([*endpoint.arguments(), *files.arguments()], list[str])
    assert_type((endpoint.url, endpoint.region, endpoint.ca_file), tuple[str, str, Path])
    assert_type((endpoint.fetches, endpoint.requests), tuple[int, int])
    endpoint.trust(pki.root)
    endpoint.rate_limit = 10
    endpoint.refuse_with("AccessDeniedException", "Untrusted signing certificate", 403)
    endpoint.reset()


def look_at_the_broker(broker: Broker) -> None:
    """Ask a node for what it is and what it does."""
    assert_type(broker.host, str)
    assert_type((broker.amqp_port, broker.amqps_port, broker.management_port), tuple[int, int, int])
    assert_type(broker.version, str)
    assert_type(broker.log_file, Path)
    assert_type(broker.ctl("status", timeout=10.0), str)
    assert_type(broker.log_text(since=broker.log_size()), str)
    assert_type(broker.connections(), list[dict[str, Any]])
    broker.add_vhost("prod")
    broker.add_user("user", "throwaway", vhost="prod", permissions=("", ".*", ".*"))
    broker.restart()


def look_at_kafka(kafka: KafkaSandbox) -> None:
    """Ask a Kafka broker for what it is and who has signed in."""
    broker = kafka.broker
    assert_type(broker, KafkaBroker)
    assert_type((broker.tls_port, broker.sasl_port, broker.open_port), tuple[int, int, int | None])
    assert_type(broker.admin_config, dict[str, str])
    assert_type(broker.reauthentications(since=broker.log_size()), int)
    assert_type(broker.refusals(), list[str])
    assert_type(kafka.issuer, OidcIssuer)


def look_at_alibaba(sts: AlibabaSts, auth: ApsaraMqAuth) -> None:
    """Read where Alibaba Cloud's parts are."""
    assert_type((sts.url, auth.url), tuple[str, str])


def look_at_an_account(account: AwsAccount) -> None:
    """Add a role to a whole account, which is an STS endpoint, too."""
    sts: StsEndpoint = account
    assert_type(sts.add_role("Broker", trusts=sts.role_arn), str)


def look_at_the_issuers(issuer: OidcIssuer, sts: StsEndpoint) -> None:
    """Read where the issuers are and what they counted."""
    assert_type(issuer.issuer_url, str)
    assert_type(issuer.token_endpoint, str)
    assert_type(issuer.jwks_uri, str)
    assert_type(issuer.client_id, str)
    assert_type(issuer.client_secret, str)
    assert_type(issuer.scopes, list[str])
    assert_type(issuer.mint(sub="someone", lifetime=5), str)
    assert_type((issuer.fetches, issuer.requests, sts.fetches), tuple[int, int, int])
    assert_type((sts.url, sts.region, sts.role_arn), tuple[str, str, str])
    issuer.token_lifetime = 30.0
    issuer.rotate_keys()


def use_a_proxy(proxy: TcpProxy) -> None:
    """Cut, stall and refuse links."""
    assert_type(proxy.port, int)
    proxy.round_trip = 0.05
    proxy.cut()
    proxy.stall()
    proxy.resume()
    proxy.refuse(True)


def break_an_issuer(faults: Faults, mode: FaultMode) -> None:
    """Misbehave for a while."""
    faults.mode = mode
    faults.clock_skew = -5.0
    faults.retry_after = None
    with faults.during("slow", delay=0.5):
        pass


def act_on_sandbox_errors(error: SandboxError) -> str:
    """Tell the sandbox's errors apart."""
    match error:
        case NotInstalledError():
            return "install it"
        case BrokerError() | _:
            return "look into the log"
