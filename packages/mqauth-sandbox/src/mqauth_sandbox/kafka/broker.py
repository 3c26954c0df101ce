"""One Apache Kafka broker in KRaft mode: its files, its process, its log; loopback only."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from mqauth_sandbox.errors import BrokerError
from mqauth_sandbox.guarded import GuardedProcess, accepts
from mqauth_sandbox.kafka.configuration import (
    JwtRules,
    KafkaPorts,
    KafkaSettings,
    server_properties,
)
from mqauth_sandbox.kafka.prepare import find_kafka
from mqauth_sandbox.ports import free_ports
from mqauth_sandbox.running import Running
from mqauth_sandbox.tls import CertificateFiles, create_certificates
from mqauth_sandbox.workdir import create_workdir, remove_workdir, write_private

_START_LIMIT = 90.0
_STOP_LIMIT = 30.0
_STARTED = "Kafka Server started"
_SAID_LIMIT = 800
_TELLING = (" ERROR ", "Exception", "error:")
_AUTHENTICATOR = "org.apache.kafka.common.security.authenticator.SaslServerAuthenticator"
_NEW_LOGIN = "Authentication complete; session max lifetime"
_REAUTHENTICATION = "Beginning re-authentication"
_ALLOWED_URLS = "org.apache.kafka.sasl.oauthbearer.allowed.urls"
# Small and quick to start: a broker must not take a machine that runs tests for itself.
_JAVA_FLAGS = ("-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


class KafkaBroker(GuardedProcess, Running):
    """One broker with its own ports, data, log and certificate.

    Usable as a context manager, which starts it and removes every trace of it.

    Args:
        jwt: Which tokens it accepts on its OAUTHBEARER listeners.
        certificates: Its certificate; by default one of a new throwaway authority.
        max_reauth: Seconds after which a client must sign in again; 0 for never.
        acls: Whether a principal may do only what an ACL allows; the administrator may everything.
        open_listener: Whether there is a port where nobody needs to sign in.
        advertised_edge: Port that clients which came by `edge_port` are told to connect to.
        directory: An owner-only directory for all of its files, which the caller removes, and
            which is removed if this process dies; by default a temporary one of its own.

    Attributes:
        host: The name that clients connect to, and that the certificate is for.
        tls_port: SASL_SSL, mechanism OAUTHBEARER.
        sasl_port: SASL_PLAINTEXT, mechanism OAUTHBEARER.
        admin_port: SASL_PLAINTEXT, mechanism PLAIN, for the administrator.
        edge_port: The same, for a proxy that signs clients in itself.
        open_port: PLAINTEXT, or None.
        version: Kafka's version.
        ca_file: The authority to verify the broker's certificate against.
        log_file: The broker's log.
        admin_user: Name of the administrator.
        admin_password: Its password, made for this broker.
    """

    host = "localhost"

    def __init__(
        self,
        *,
        jwt: JwtRules,
        certificates: CertificateFiles | None = None,
        max_reauth: float = 0.0,
        acls: bool = False,
        open_listener: bool = False,
        advertised_edge: int | None = None,
        directory: Path | None = None,
    ) -> None:
        """Choose ports and write the broker's files; nothing runs yet."""
        self._owner = os.getpid()
        self._installation = find_kafka()
        self.version = self._installation.version
        self._base = base = directory or create_workdir()
        self._files = base / "kafka"
        super().__init__("Kafka broker", log_file=self._files / "kafka.log", owned=base)
        certificates = certificates or create_certificates(self._base / "tls")
        self.ca_file = certificates.ca_file
        tls, sasl, admin, controller, edge, open_port = free_ports(6)
        self.tls_port, self.sasl_port, self.admin_port, self.edge_port = tls, sasl, admin, edge
        self.open_port = open_port if open_listener else None
        self.admin_user, self.admin_password = "sandbox-admin", secrets.token_urlsafe(16)
        self._files.mkdir(mode=0o700)
        self._removable = self._files if directory else self._base
        self._jwks_url = jwt.jwks_url
        settings = KafkaSettings(
            ports=KafkaPorts(
                tls=tls,
                sasl=sasl,
                admin=admin,
                controller=controller,
                edge=edge,
                open=self.open_port,
            ),
            advertised_edge=advertised_edge or edge,
            data=self._files / "data",
            server_pem=write_private(self._files / "server.pem", _one_file(certificates)),
            jwt=jwt,
            admin=(self.admin_user, self.admin_password),
            max_reauth_ms=round(max_reauth * 1000),
            acls=acls,
        )
        self._properties = write_private(
            self._files / "server.properties", server_properties(settings)
        )

    @property
    def admin_config(self) -> dict[str, str]:
        """Settings with which a librdkafka client signs in as the administrator."""
        return {
            "bootstrap.servers": f"{self.host}:{self.admin_port}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": self.admin_user,
            "sasl.password": self.admin_password,
        }

    def start(self, timeout: float = _START_LIMIT) -> None:
        """Start the broker and wait until it serves clients, `timeout` seconds at most.

        Raises:
            BrokerError: It did not start; the text holds what it said.
        """
        if self.running:
            return
        deadline = time.monotonic() + timeout
        self._format(timeout)
        self._launch(self._java("kafka.Kafka", str(self._properties)), self.log_file)
        self._wait(
            lambda: _STARTED in self.log_text(self._started_at) and accepts(self.tls_port),
            deadline,
            timeout,
        )

    def stop(self, timeout: float = _STOP_LIMIT) -> None:
        """Shut the broker down, by force after `timeout` seconds. Its data stays for `start`."""
        super().stop(timeout)

    def close(self) -> None:
        """End the broker at once and remove all of its files; no effect in a forked process."""
        if os.getpid() != self._owner:
            return
        self.kill()
        remove_workdir(self._removable)

    def reauthentications(self, since: int = 0) -> int:
        """Return how often clients have signed in again on a connection that they kept."""
        return self.log_text(since).count(_REAUTHENTICATION)

    def refusals(self, since: int = 0) -> list[str]:
        """Return the log's lines about logins that failed."""
        lines = self.log_text(since).splitlines()
        return [line for line in lines if "Failed authentication with" in line]

    def _java(self, main: str, *arguments: str) -> list[str]:
        logger = "-Dorg.slf4j.simpleLogger"
        return [
            str(self._installation.java),
            *_JAVA_FLAGS,
            f"-D{_ALLOWED_URLS}={self._jwks_url}",
            f"{logger}.showDateTime=true",
            f"{logger}.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
            # The only place where a broker says that a client has signed in again.
            f"{logger}.log.{_AUTHENTICATOR}=debug",
            *("-cp", f"{self._installation.jars}/*"),
            main,
            *arguments,
        ]

    def _format(self, timeout: float) -> None:
        if (self._files / "data").exists():
            return
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ("kafka.tools.StorageTool", "format", "--config", str(self._properties))
        # Not "-t", whose value might begin with a dash.
        command = self._java(*tool, f"--cluster-id={cluster}")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            raise BrokerError(f"Kafka's data was not formatted within {timeout:g} s") from None
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip())[-_SAID_LIMIT:]
            raise BrokerError(f"Kafka's data could not be formatted: {said}")

    def _said(self) -> str:
        lines = self.log_text(self._started_at).splitlines()
        telling = [line for line in lines if any(sign in line for sign in _TELLING)]
        return " / ".join(line.strip() for line in telling or lines[-8:])[:_SAID_LIMIT]


def _one_file(certificates: CertificateFiles) -> bytes:
    """Return key and chain as Kafka reads them: together, the key in PKCS#8."""
    key = serialization.load_pem_private_key(certificates.key_file.read_bytes(), None)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem + certificates.certificate_file.read_bytes()
