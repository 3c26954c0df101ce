"""One RabbitMQ node: its directory, its process, and the commands sent to it."""

from __future__ import annotations

import re
import secrets
import subprocess
import time
from pathlib import Path

from mqauth_sandbox.errors import BrokerError
from mqauth_sandbox.guarded import GuardedProcess, accepts
from mqauth_sandbox.rabbitmq import http_auth
from mqauth_sandbox.rabbitmq.configuration import (
    CertificateLogin,
    NodePaths,
    NodePorts,
    OAuth2Settings,
    advanced_config,
    enabled_plugins,
    rabbitmq_conf,
)
from mqauth_sandbox.rabbitmq.installation import Installation
from mqauth_sandbox.tls import CertificateFiles
from mqauth_sandbox.workdir import write_private

_STARTED = "Server startup complete"
_TELLING = re.compile(r"\[(error|critical|alert|emergency)\]|BOOT FAILED|[Ee]rror:")
_PREFIX = re.compile(r"^\S+ \S+ \[\w+\] <[\d.]+>\s*")
_SAID_LINES = 8
_SAID_LIMIT = 800
_LOOPBACK_ONLY = "-kernel inet_dist_use_interface {127,0,0,1}"
# Two schedulers: a node must not take a machine that runs tests for itself.
_ERLANG_FLAGS = f"+S 2:2 +SDcpu 1:1 +SDio 4 {_LOOPBACK_ONLY}"


class Node(GuardedProcess):
    """One node, with all of its files in one owner-only directory.

    Args:
        installation: The RabbitMQ to run.
        directory: An existing empty directory for everything the node writes.
        owned: The directory to remove when this process dies without stopping the node.
        ports: Ports to listen on.
        certificates: For AMQPS, and the authority to trust for the keys of tokens.
        admin: Name and password of the internal administrator.
        oauth2: Which tokens to accept; None for none.
        http_auth_url: The service to ask about other users; None for none. Not with `oauth2`.
        certificate_login: What of a client certificate names the user who signs in by it; None
            for no such logins.
    """

    def __init__(
        self,
        installation: Installation,
        directory: Path,
        *,
        owned: Path,
        ports: NodePorts,
        certificates: CertificateFiles,
        admin: tuple[str, str],
        oauth2: OAuth2Settings | None,
        http_auth_url: str | None = None,
        certificate_login: CertificateLogin | None = None,
    ) -> None:
        """Write the node's files."""
        super().__init__("RabbitMQ node", log_file=directory / "log" / "rabbit.log", owned=owned)
        self._installation = installation
        self._directory = directory
        self._ports = ports
        for name in ("home", "data", "log", "tls"):
            (directory / name).mkdir(mode=0o700)
        # The node may see nothing but its own directory.
        paths = NodePaths(
            ca_file=self._keep("tls/ca.pem", certificates.ca_file.read_text()),
            certificate_file=self._keep(
                "tls/server.pem", certificates.certificate_file.read_text()
            ),
            key_file=self._keep("tls/server.key", certificates.key_file.read_text()),
            log_file=self._seen(self.log_file),
        )
        known_keys = installation.oauth2_keys()
        conf = rabbitmq_conf(
            known_keys=known_keys,
            ports=ports,
            paths=paths,
            admin=admin,
            oauth2=oauth2,
            certificate_login=certificate_login,
        )
        advanced = advanced_config(known_keys=known_keys, oauth2=oauth2)
        if http_auth_url is not None:
            conf += "\n".join(http_auth.conf_lines(http_auth_url)) + "\n"
            advanced = http_auth.advanced_config(paths.ca_file)
        self._keep("rabbitmq.conf", conf)
        self._keep("advanced.config", advanced)
        self._keep("enabled_plugins", enabled_plugins())
        self._keep("home/.erlang.cookie", secrets.token_hex(16), mode=0o400)

    def start(self, timeout: float) -> None:
        """Start the node and wait until it serves AMQP.

        Raises:
            BrokerError: It ended, or was not ready within `timeout` seconds.
        """
        if self.running:
            return
        deadline = time.monotonic() + timeout
        self._launch(self._command("rabbitmq-server"), self._directory / "log" / "console.log")
        self._wait(lambda: _STARTED in self.log_text(self._started_at), deadline, timeout)
        self._wait(lambda: accepts(self._ports.amqp), deadline, timeout)

    def ctl(self, *arguments: str, timeout: float, stdin: str | None = None) -> str:
        """Run `rabbitmqctl` against the node and return what it prints.

        Args:
            *arguments: The command and its arguments; other users of the machine can see them.
            timeout: Seconds to wait at most.
            stdin: Text for the command's standard input, where secrets belong.

        Raises:
            BrokerError: It failed or took too long.
        """
        try:
            done = subprocess.run(
                # Its start script counts arguments to find out whether it reads input.
                self._command("rabbitmqctl", *arguments, *([] if stdin else ["--silent"])),
                input=stdin if stdin is not None else "",
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BrokerError(
                f"rabbitmqctl {arguments[0]} did not end within {timeout:g} s",
                remedy=f"see {self.log_file}",
            ) from None
        if done.returncode:
            raise BrokerError(
                f"rabbitmqctl {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}",
                remedy=f"see {self.log_file}",
            )
        return done.stdout

    def _keep(self, name: str, content: str, mode: int = 0o600) -> Path:
        return self._seen(write_private(self._directory / name, content, mode))

    def _seen(self, path: Path) -> Path:
        return self._installation.seen_by_node(path, self._directory)

    def _command(self, program: str, *arguments: str) -> list[str]:
        base = self._seen(self._directory / "data").parent
        environment = {
            "HOME": str(base / "home"),
            "LANG": "C.UTF-8",
            # A host name would have to resolve; epmd and distribution stay on loopback anyway.
            "RABBITMQ_NODENAME": "sandbox@localhost",
            "RABBITMQ_CONFIG_FILE": str(base / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(base / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(base / "no-environment-file"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(base / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(base / "data"),
            "RABBITMQ_LOG_BASE": str(base / "log"),
            "RABBITMQ_PID_FILE": str(base / "data" / "pid"),
            "RABBITMQ_DIST_PORT": str(self._ports.distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG_FLAGS,
            "RABBITMQ_CTL_ERL_ARGS": _LOOPBACK_ONLY,
            # Makes the start script replace itself by the node, which takes SIGTERM itself.
            "RUNNING_UNDER_SYSTEMD": "true",
            # Each node has an epmd of its own, which ends with it.
            "ERL_EPMD_PORT": str(self._ports.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        return self._installation.command(
            program, *arguments, data=self._directory, environment=environment
        )

    def _said(self) -> str:
        console = (self._directory / "log" / "console.log").read_text(errors="replace")
        lines = (console + self.log_text(self._started_at)).splitlines()
        # The cause comes first: then a node logs at length how it takes everything down again.
        telling = [line for line in lines if _TELLING.search(line)] or lines[-_SAID_LINES:]
        said = [_PREFIX.sub("", line).strip() for line in telling]
        return " / ".join([line for line in said if line][:_SAID_LINES])[:_SAID_LIMIT]
