"""The whole local world: a certificate authority, three issuers, a broker, proxies."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from mqauth_sandbox.alibaba_sts import AlibabaSts
from mqauth_sandbox.apsaramq import ApsaraMqAuth
from mqauth_sandbox.broker import Broker
from mqauth_sandbox.errors import SandboxError
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.pki import IdentityFiles, Pki
from mqauth_sandbox.ports import free_ports
from mqauth_sandbox.proxy import TcpProxy
from mqauth_sandbox.rabbitmq.configuration import OAuth2Settings
from mqauth_sandbox.rolesanywhere import RolesAnywhereEndpoint
from mqauth_sandbox.running import Running
from mqauth_sandbox.sts import StsEndpoint
from mqauth_sandbox.tls import CertificateAuthority, ClientCertificateFiles
from mqauth_sandbox.workdir import create_workdir, remove_workdir, write_private

BrokerAuth = Literal["oauth2", "amazonmq", "apsaramq", "external"]
AwsLogin = Literal["access-key", "roles-anywhere"]

_PROVIDERS: dict[BrokerAuth, str] = {
    "oauth2": "oauth2",
    "amazonmq": "aws-iam",
    "apsaramq": "apsaramq-rrsa",
    "external": "external",
}
AMAZONMQ_PREFIX = "rabbitmq/"
CELERY_ALIAS_SCOPES = (
    "rabbitmq/tag:administrator",
    "rabbitmq/read:*/*/*",
    "rabbitmq/write:*/*/*",
    "rabbitmq/configure:*/*/*",
)
"""What the role's alias stands for by default: the third segment is for topics, which the events
of a Celery worker need."""
AWS_EXAMPLE_ALIAS_SCOPES = (
    "rabbitmq/tag:administrator",
    "rabbitmq/read:*/*",
    "rabbitmq/write:*/*",
    "rabbitmq/configure:*/*",
)
"""What AWS's own example grants. It gives no access to topics: a Celery worker does not start."""


class Sandbox(Running):
    """Starts everything that a client with short-lived credentials talks to, and ends it again.

    Usable as a context manager. Whatever happens to this process, its nodes end with it.

    Args:
        broker: `"3"` (the distribution's RabbitMQ), `"4"`, the path of a `rabbitmq-server` or its
            folder, or the URL of a running broker, which is then left as it is.
        token_lifetime: Seconds that tokens of `issuer` live; settable there at any time.
        broker_auth: Whose tokens the broker trusts and how: `"oauth2"` those of `issuer`, with the
            plugin's defaults; `"amazonmq"` those of `sts`, with the configuration that AWS gives
            for Amazon MQ (prefix `rabbitmq/`, scopes from `sub`, an alias on the role's ARN);
            `"apsaramq"` the dynamic users of `alibaba_sts`, whom it asks `apsaramq` about;
            `"external"` client certificates of `authority` for `certificate_user`.
        alias_scopes: What the role's ARN stands for with `"amazonmq"`.
        aws_login: What `environment` gives AWS clients to start from: `"access-key"` the user's
            key, who may assume the role; `"roles-anywhere"` nothing but a certificate with its key.

    Example:
        with Sandbox(broker="4", token_lifetime=15) as sandbox:
            subprocess.run(command, env=os.environ | sandbox.environment())

    Attributes:
        ca_file: Certificate of the throwaway authority that signs every server's certificate.
        authority: That authority, which issues client certificates too.
        certificate_user: The user who signs in by certificate with `"external"`.
        certificate_lifetime: Seconds that client certificates live; settable at any time.
        issuer: The OIDC issuer.
        sts: The STS endpoint of AWS.
        roles_anywhere: The Roles Anywhere endpoint, whose sessions `sts` accepts.
        pki: A throwaway authority that `roles_anywhere` trusts; it issues X.509 identities.
        identity_files: The certificate and key that `environment` names.
        alibaba_sts: The STS endpoint of Alibaba Cloud, which trusts `issuer`.
        apsaramq: What checks the logins of `"apsaramq"`.
    """

    certificate_user = "celery"

    def __init__(
        self,
        *,
        broker: str | Path = "4",
        token_lifetime: float = 15.0,
        broker_auth: BrokerAuth = "oauth2",
        alias_scopes: Sequence[str] = CELERY_ALIAS_SCOPES,
        aws_login: AwsLogin = "access-key",
    ) -> None:
        """Make certificates and keys and choose ports; nothing runs before `start`."""
        self._owner = os.getpid()
        self.certificate_lifetime = 3600.0
        self._broker_auth = broker_auth
        self._url = str(broker) if "://" in str(broker) else None
        self._open = ExitStack()
        self._directory = create_workdir()
        self._open.callback(remove_workdir, self._directory)
        try:
            self.authority = CertificateAuthority()
            self._certificates = self.authority.server_files(self._directory / "tls")
            self.ca_file = self._certificates.ca_file
            server = self._certificates.certificate_file, self._certificates.key_file
            issuer_port, sts_port, roles_port, alibaba_port, apsaramq_port = free_ports(5)
            self.issuer = OidcIssuer(
                certificate=server[0],
                private_key=server[1],
                token_lifetime=token_lifetime,
                port=issuer_port,
            )
            self.sts = StsEndpoint(certificate=server[0], private_key=server[1], port=sts_port)
            self.roles_anywhere = RolesAnywhereEndpoint(
                certificate=server[0],
                private_key=server[1],
                sts=self.sts,
                ca_file=self.ca_file,
                port=roles_port,
            )
            self.pki = Pki()
            self.roles_anywhere.trust(self.pki.root)
            self._aws_login = aws_login
            self.identity_files = self._new_identity()
            self.alibaba_sts = AlibabaSts(
                certificate=server[0],
                private_key=server[1],
                oidc=self.issuer,
                port=alibaba_port,
            )
            self.apsaramq = ApsaraMqAuth(
                certificate=server[0],
                private_key=server[1],
                sts=self.alibaba_sts,
                port=apsaramq_port,
            )
            self._broker = None if self._url else self._new_broker(broker, alias_scopes)
        except BaseException:
            self._open.close()
            raise

    @property
    def controls_broker(self) -> bool:
        """Whether `broker` is its own, rather than one that ran before."""
        return self._broker is not None

    @property
    def broker(self) -> Broker:
        """The broker.

        Raises:
            SandboxError: The sandbox was given a running broker's URL and has none of its own.
        """
        if self._broker is None:
            raise SandboxError(
                "this sandbox was given the URL of a running broker: it provides issuers only",
                remedy="make it with broker='4' to have one under its control",
            )
        return self._broker

    @property
    def broker_url(self) -> str:
        """What Celery takes as `broker_url`: plain AMQP on loopback, or the URL given."""
        if self._url is not None:
            return self._url
        if self._broker_auth == "external":  # nobody sees a certificate without TLS
            return self.broker_tls_url
        return f"mqauth://{self._provider}@{self.broker.host}:{self.broker.amqp_port}//"

    @property
    def broker_tls_url(self) -> str:
        """The same over TLS; it needs `broker_use_ssl = {"ca_certs": ca_file}`."""
        if self._url is not None:
            return self._url
        return f"mqauths://{self._provider}@{self.broker.host}:{self.broker.amqps_port}//"

    def start(self) -> None:
        """Start the issuers and the broker and wait until all of them serve.

        Raises:
            SandboxError: Something did not start; the text says what and why.
        """
        try:
            for issuer in (
                self.issuer,
                self.sts,
                self.roles_anywhere,
                self.alibaba_sts,
                self.apsaramq,
            ):
                issuer.start()
                self._open.callback(issuer.stop)
            if self._broker is not None:
                self._broker.start()
                if self._broker_auth == "external":
                    self._admit_certificate(self._broker)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything and remove every trace; no effect in a process forked off later."""
        if os.getpid() == self._owner:
            self._open.close()

    def proxy(self, target_port: int) -> TcpProxy:
        """Return a running proxy to a port of this machine; it ends with the sandbox."""
        proxy = TcpProxy(target_port)
        proxy.start()
        self._open.callback(proxy.close)
        return proxy

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point Celery, mqauth and AWS SDKs here.

        Secrets stand in files that only this user can read; the variables name the files.
        """
        secret = write_private(self._directory / "client_secret", self.issuer.client_secret)
        config = write_private(self._directory / "aws_config", "[default]\n")
        projected = write_private(
            self._directory / "oidc_token", self.alibaba_sts.service_account_token() + "\n"
        )
        return {
            "CELERY_BROKER_URL": self.broker_url,
            "MQAUTH_OAUTH2_ISSUER": self.issuer.issuer_url,
            "MQAUTH_OAUTH2_CLIENT_ID": self.issuer.client_id,
            "MQAUTH_OAUTH2_CLIENT_SECRET_FILE": str(secret),
            "MQAUTH_OAUTH2_CA_FILE": str(self.ca_file),
            "AWS_REGION": self.sts.region,
            "AWS_DEFAULT_REGION": self.sts.region,
            "AWS_ENDPOINT_URL_STS": self.sts.url,
            "AWS_ENDPOINT_URL_ROLESANYWHERE": self.roles_anywhere.url,
            "AWS_CA_BUNDLE": str(self.ca_file),
            "AWS_CONFIG_FILE": str(config),
            # Real keys and profiles of the user's must neither win over these nor be sent here.
            "AWS_PROFILE": "default",
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
            "AWS_SESSION_TOKEN": "",
            **self._aws_environment(),
            **self._credproc_environment(),
            "ALIBABA_CLOUD_ROLE_ARN": self.alibaba_sts.role_arn,
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": self.alibaba_sts.oidc_provider_arn,
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(projected),
            "MQAUTH_APSARAMQ_RRSA_ENDPOINT_URL": self.alibaba_sts.url,
            "MQAUTH_APSARAMQ_RRSA_INSTANCE_ID": self.apsaramq.instance_id,
            "MQAUTH_APSARAMQ_RRSA_CA_FILE": str(self.ca_file),
            **self._certificate_environment(),
            **self._broker_environment(),
        }

    def renew_client_certificate(self) -> ClientCertificateFiles:
        """Issue a client certificate for `certificate_user`, over the last one, and return it."""
        clients = self._directory / "clients"
        return self.authority.issue_client(
            clients, self.certificate_user, self.certificate_lifetime
        )

    def _admit_certificate(self, broker: Broker) -> None:
        users = broker.ctl("list_users", "--formatter", "json")
        if self.certificate_user not in users:
            broker.add_user(self.certificate_user, secrets.token_urlsafe(16), "administrator")

    @property
    def _provider(self) -> str:
        return _PROVIDERS[self._broker_auth]

    def _new_broker(self, which: str | Path, alias_scopes: Sequence[str]) -> Broker:
        broker = Broker(
            which,
            certificates=self._certificates,
            oauth2=self._oauth2_settings(alias_scopes),
            certificate_login="common_name" if self._broker_auth == "external" else None,
            http_auth_url=self.apsaramq.url if self._broker_auth == "apsaramq" else None,
            directory=self._directory,
        )
        self._open.callback(broker.close)
        return broker

    def _oauth2_settings(self, alias_scopes: Sequence[str]) -> OAuth2Settings | None:
        if self._broker_auth in ("apsaramq", "external"):
            return None
        if self._broker_auth == "oauth2":
            return OAuth2Settings(
                jwks_url=self.issuer.jwks_uri, resource_server_id=self.issuer.resource_server_id
            )
        return OAuth2Settings(
            jwks_url=self.sts.jwks_uri,
            resource_server_id="rabbitmq",
            scope_prefix=AMAZONMQ_PREFIX,
            additional_scopes_key="sub",
            scope_aliases={self.sts.role_arn: tuple(alias_scopes)},
            management_oauth=True,
        )

    def _new_identity(self) -> IdentityFiles:
        directory = self._directory / "identity"
        directory.mkdir(mode=0o700)
        return self.pki.issue("ec-p256", depth=2).write(directory)

    def _aws_environment(self) -> dict[str, str]:
        """Return what tells AWS clients who they are."""
        credentials = self._directory / "aws_credentials"
        if self._aws_login == "access-key":
            key = (
                "[default]\n"
                f"aws_access_key_id = {self.sts.access_key_id}\n"
                f"aws_secret_access_key = {self.sts.secret_access_key}\n"
            )
            return {
                "AWS_SHARED_CREDENTIALS_FILE": str(write_private(credentials, key)),
                "MQAUTH_AWS_IAM_ROLE_ARN": self.sts.role_arn,
            }
        files, service = self.identity_files, self.roles_anywhere
        option = "MQAUTH_AWS_IAM_ROLES_ANYWHERE_"
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(write_private(credentials, "")),
            f"{option}CERTIFICATE": str(files.certificate),
            f"{option}PRIVATE_KEY": str(files.private_key),
            f"{option}INTERMEDIATES": str(files.intermediates),
            f"{option}TRUST_ANCHOR_ARN": service.trust_anchor_arn,
            f"{option}PROFILE_ARN": service.profile_arn,
            f"{option}ROLE_ARN": service.role_arn,
        }

    def _credproc_environment(self) -> dict[str, str]:
        """Return what makes `credproc credential-process` open a session here."""
        files, endpoint = self.identity_files, self.roles_anywhere
        return {
            "CREDPROC_TRUST_ANCHOR_ARN": endpoint.trust_anchor_arn,
            "CREDPROC_PROFILE_ARN": endpoint.profile_arn,
            "CREDPROC_ROLE_ARN": endpoint.role_arn,
            "CREDPROC_CERTIFICATE": str(files.certificate),
            "CREDPROC_PRIVATE_KEY": str(files.private_key),
            "CREDPROC_INTERMEDIATES": str(files.intermediates),
        }

    def _certificate_environment(self) -> dict[str, str]:
        if self._broker_auth != "external":
            return {}
        files = self.renew_client_certificate()
        return {
            "MQAUTH_EXTERNAL_CERTIFICATE_FILE": str(files.certificate_file),
            "MQAUTH_EXTERNAL_PRIVATE_KEY_FILE": str(files.key_file),
        }

    def _broker_environment(self) -> dict[str, str]:
        if self._broker is None:
            return {}
        return {
            "MQAUTH_SANDBOX_CA_FILE": str(self.ca_file),
            "MQAUTH_SANDBOX_BROKER_TLS_URL": self.broker_tls_url,
            "MQAUTH_SANDBOX_BROKER_ADDRESS": (
                f"amqps://{self._broker.host}:{self._broker.amqps_port}//"
            ),
            "MQAUTH_SANDBOX_MANAGEMENT_URL": f"http://localhost:{self.broker.management_port}",
        }
