"""A Kafka broker together with the issuer whose tokens it accepts."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from mqauth_sandbox.kafka.broker import KafkaBroker
from mqauth_sandbox.kafka.configuration import JwtRules
from mqauth_sandbox.oidc import OidcIssuer
from mqauth_sandbox.ports import free_ports
from mqauth_sandbox.running import Running
from mqauth_sandbox.tls import CertificateAuthority
from mqauth_sandbox.workdir import create_workdir, remove_workdir, write_private

AUDIENCE = "kafka"


class KafkaSandbox(Running):
    """Starts an issuer and a broker that reads its keys over HTTPS, and ends both.

    Args:
        token_lifetime: Seconds that the issuer's tokens live.
        max_reauth: Seconds after which a client must sign in again; 0 for no sooner than its token
            ends.
        acls: Whether a principal may do only what an ACL allows.
        open_listener: Whether there is a port where nobody needs to sign in.
        advertised_edge: See `KafkaBroker`.

    Attributes:
        issuer: The issuer; its `client_id` is the principal.
        broker: The broker.
        ca_file: The authority behind the certificates of both.
        certificates: The certificate of both.
        client_secret_file: The secret of the issuer's client, in a file of its owner.

    Example:
        with KafkaSandbox(token_lifetime=30, max_reauth=20) as kafka:
            print(kafka.broker.tls_port, kafka.issuer.issuer_url)
    """

    def __init__(
        self,
        *,
        token_lifetime: float = 300.0,
        max_reauth: float = 0.0,
        acls: bool = False,
        open_listener: bool = False,
        advertised_edge: int | None = None,
    ) -> None:
        """Write everything that is needed; nothing runs yet."""
        self._owner = os.getpid()
        self._open = ExitStack()
        directory = create_workdir()
        self._open.callback(remove_workdir, directory)
        try:
            authority = CertificateAuthority()
            self.certificates = authority.server_files(directory / "tls")
            self.ca_file = self.certificates.ca_file
            self.issuer = OidcIssuer(
                certificate=self.certificates.certificate_file,
                private_key=self.certificates.key_file,
                resource_server_id=AUDIENCE,
                token_lifetime=token_lifetime,
                port=free_ports(1)[0],
            )
            self.broker = KafkaBroker(
                jwt=JwtRules(
                    issuer=self.issuer.issuer_url,
                    audience=AUDIENCE,
                    jwks_url=self.issuer.jwks_uri,
                    ca_file=self.ca_file,
                ),
                certificates=self.certificates,
                max_reauth=max_reauth,
                acls=acls,
                open_listener=open_listener,
                advertised_edge=advertised_edge,
                directory=directory,
            )
            self.client_secret_file: Path = write_private(
                directory / "client_secret", self.issuer.client_secret
            )
        except BaseException:
            self._open.close()
            raise

    @property
    def oauth2_options(self) -> dict[str, str]:
        """Options of mqauth's provider `oauth2` for a token that the broker accepts."""
        return {
            "issuer": self.issuer.issuer_url,
            "client_id": self.issuer.client_id,
            "client_secret_file": str(self.client_secret_file),
            "ca_file": str(self.ca_file),
        }

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point Celery and mqauth here.

        The client's secret stands in a file that only this user can read; a variable names it.
        """
        broker = self.broker
        return {
            "CELERY_BROKER_URL": f"mqauth-kafka://oauth2@{broker.host}:{broker.sasl_port}",
            "MQAUTH_OAUTH2_ISSUER": self.issuer.issuer_url,
            "MQAUTH_OAUTH2_CLIENT_ID": self.issuer.client_id,
            "MQAUTH_OAUTH2_CLIENT_SECRET_FILE": str(self.client_secret_file),
            "MQAUTH_OAUTH2_CA_FILE": str(self.ca_file),
        }

    def start(self) -> None:
        """Start issuer and broker and wait until both serve.

        Raises:
            SandboxError: Something did not start; the text says what and why.
        """
        try:
            self.issuer.start()
            self._open.callback(self.issuer.stop)
            self._open.callback(self.broker.close)
            self.broker.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything and remove every trace; no effect in a process forked off later."""
        if os.getpid() == self._owner:
            self._open.close()
