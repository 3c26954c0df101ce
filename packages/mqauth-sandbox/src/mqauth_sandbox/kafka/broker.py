"""One Apache Kafka broker in KRaft mode: its files, its process, its log; loopback only."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives import serialization

from mqauth_sandbox.errors import BrokerError
from mqauth_sandbox.kafka.configuration import (
    JwtRules,
    KafkaPorts,
    KafkaSettings,
    server_properties,
)
from mqauth_sandbox.kafka.prepare import find_kafka
from mqauth_sandbox.ports import free_ports
from mqauth_sandbox.rabbitmq import guard
from mqauth_sandbox.tls import CertificateFiles, create_certificates
from mqauth_sandbox.workdir import create_workdir, remove_workdir, write_private

_START_LIMIT = 90.0
_STOP_LIMIT = 30.0
_KILL_LIMIT = 20.0
_POLL = 0.1
_STARTED = "Kafka Server started"
_SAID_LIMIT = 800
_TELLING = (" ERROR ", "Exception", "error:")
_AUTHENTICATOR = "org.apache.kafka.common.security.authenticator.SaslServerAuthenticator"
_NEW_LOGIN = "Authentication complete; session max lifetime"
_REAUTHENTICATION = "Beginning re-authentication"
_ALLOWED_URLS = "org.apache.kafka.sasl.oauthbearer.allowed.urls"
# Small and quick to start: a broker must not take a machine that runs tests for itself.
_JAVA_FLAGS = ("-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


class KafkaBroker:
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
        self._base = directory or create_workdir()
        certificates = certificates or create_certificates(self._base / "tls")
        self.ca_file = certificates.ca_file
        tls, sasl, admin, controller, edge, open_port = free_ports(6)
        self.tls_port, self.sasl_port, self.admin_port, self.edge_port = tls, sasl, admin, edge
        self.open_port = open_port if open_listener else None
        self.admin_user, self.admin_password = "sandbox-admin", secrets.token_urlsafe(16)
        self._files = self._base / "kafka"
        self._files.mkdir(mode=0o700)
        self._removable = self._files if directory else self._base
        self.log_file = self._files / "kafka.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0
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
    def running(self) -> bool:
        """Whether the broker's process runs."""
        return self._process is not None and self._process.poll() is None

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
        self._started_at = self.log_size()
        with self.log_file.open("ab") as console:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", guard.__file__),
                    *(str(os.getpid()), str(self._base)),
                    *self._java("kafka.Kafka", str(self._properties)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                # Ctrl-C in a terminal must reach the sandbox only, which then stops the broker.
                start_new_session=True,
            )
        self._wait_until_started(deadline, timeout)

    def _wait_until_started(self, deadline: float, timeout: float) -> None:
        while not (_STARTED in self.log_text(self._started_at) and self._accepts()):
            if not self.running:
                raise self._failure("the Kafka broker ended while it started")
            if time.monotonic() > deadline:
                failure = self._failure(f"the Kafka broker was not ready within {timeout:g} s")
                self.kill()
                raise failure
            time.sleep(_POLL)

    def stop(self, timeout: float = _STOP_LIMIT) -> None:
        """Shut the broker down, by force after `timeout` seconds. Its data stays for `start`."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """End the broker at once, as a crash would. Its data stays for `start`."""
        self._end(signal.SIGQUIT, _KILL_LIMIT)

    def close(self) -> None:
        """End the broker at once and remove all of its files; no effect in a forked process."""
        if os.getpid() != self._owner:
            return
        self.kill()
        remove_workdir(self._removable)

    def log_text(self, since: int = 0) -> str:
        """Return the broker's log from the byte offset `since` on."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(since)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def log_size(self) -> int:
        """Return the length of the broker's log in bytes: a `since` for later."""
        try:
            return self.log_file.stat().st_size
        except FileNotFoundError:
            return 0

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

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.tls_port), timeout=1).close()
        except OSError:
            return False
        return True

    def _failure(self, what: str) -> BrokerError:
        lines = self.log_text(self._started_at).splitlines()
        telling = [line for line in lines if any(sign in line for sign in _TELLING)]
        said = " / ".join(line.strip() for line in telling or lines[-8:])
        return BrokerError(f"{what}; it said: {said[:_SAID_LIMIT] or 'nothing'}")

    def _end(self, number: signal.Signals, timeout: float) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(_KILL_LIMIT)
        self._process = None

    def __enter__(self) -> Self:
        """Start the broker."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the broker and remove its files."""
        self.close()


def _one_file(certificates: CertificateFiles) -> bytes:
    """Return key and chain as Kafka reads them: together, the key in PKCS#8."""
    key = serialization.load_pem_private_key(certificates.key_file.read_bytes(), None)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem + certificates.certificate_file.read_bytes()
