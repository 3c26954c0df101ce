"""A real RabbitMQ broker on this machine."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from mqauth_sandbox.ports import free_ports
from mqauth_sandbox.rabbitmq.configuration import CertificateLogin, NodePorts, OAuth2Settings
from mqauth_sandbox.rabbitmq.node import Node
from mqauth_sandbox.rabbitmq.prepare import find_installation
from mqauth_sandbox.running import Running
from mqauth_sandbox.tls import CertificateFiles, create_certificates
from mqauth_sandbox.workdir import create_workdir, remove_workdir

_START_LIMIT = 90.0
_STOP_LIMIT = 30.0


class Broker(Running):
    """One RabbitMQ node with its own ports, data, log and certificate; loopback only.

    Usable as a context manager, which starts it and removes every trace of it.

    Args:
        which: `"3"` (the distribution's), `"4"`, or the path of a `rabbitmq-server` or its folder.
        certificates: The server's certificate; by default one of a new throwaway authority.
        oauth2: Which tokens it accepts beside its internal users; None for none.
        http_auth_url: Service that it asks about users who are not internal, instead of `oauth2`.
        certificate_login: What of a client certificate, issued by the authority of `certificates`,
            names the internal user who signs in by it (SASL EXTERNAL); None for no such logins.
        directory: An owner-only directory for all of its files, which the caller removes, and
            which is removed if this process dies; by default a temporary one of its own.

    Attributes:
        host: The name that clients connect to, and that the certificate is for.
        amqp_port: Plain AMQP.
        amqps_port: AMQP over TLS 1.2 and 1.3.
        management_port: The management API, plain HTTP.
        version: RabbitMQ's version.
        ca_file: The authority to verify the server's certificate against.
        log_file: The node's log, at level info.
        admin_user: Name of an internal administrator.
        admin_password: Its password, made for this broker.
    """

    host = "localhost"

    def __init__(
        self,
        which: str | Path = "4",
        *,
        certificates: CertificateFiles | None = None,
        oauth2: OAuth2Settings | None = None,
        http_auth_url: str | None = None,
        certificate_login: CertificateLogin | None = None,
        directory: Path | None = None,
    ) -> None:
        """Choose ports and write the node's files; nothing runs yet."""
        self._owner = os.getpid()
        installation = find_installation(which)
        base = directory or create_workdir()
        certificates = certificates or create_certificates(base / "tls")
        amqp, amqps, management, epmd, distribution = free_ports(5)
        ports = NodePorts(
            amqp=amqp, amqps=amqps, management=management, epmd=epmd, distribution=distribution
        )
        self.amqp_port = ports.amqp
        self.amqps_port = ports.amqps
        self.management_port = ports.management
        self.version = installation.version
        self.ca_file = certificates.ca_file
        self.admin_user = "sandbox-admin"
        self.admin_password = secrets.token_urlsafe(16)
        files = base / "node"
        files.mkdir(mode=0o700)
        self._removable = files if directory else base
        self._node = Node(
            installation,
            files,
            owned=base,
            ports=ports,
            certificates=certificates,
            admin=(self.admin_user, self.admin_password),
            oauth2=oauth2,
            http_auth_url=http_auth_url,
            certificate_login=certificate_login,
        )
        self.log_file = self._node.log_file

    @property
    def running(self) -> bool:
        """Whether the node's process runs."""
        return self._node.running

    def start(self, timeout: float = _START_LIMIT) -> None:
        """Start the node and wait until it serves AMQP, `timeout` seconds at most.

        Raises:
            BrokerError: It did not start; the text holds what it said last.
        """
        self._node.start(timeout)

    def stop(self, timeout: float = _STOP_LIMIT) -> None:
        """Shut the node down, by force after `timeout` seconds. Its data stays for `start`."""
        self._node.stop(timeout)

    def restart(self) -> None:
        """Stop the node and start it again with the same ports and data."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End the node at once, as a crash would. Its data stays for `start`."""
        self._node.kill()

    def close(self) -> None:
        """End the node at once and remove all of its files; no effect in a forked process."""
        if os.getpid() != self._owner:
            return
        self._node.kill()
        remove_workdir(self._removable)

    def ctl(self, *args: str, timeout: float = 60.0, stdin: str | None = None) -> str:
        """Run `rabbitmqctl` with these arguments and return what it prints.

        Args:
            *args: The command and its arguments; other users of the machine can see them.
            timeout: Seconds to wait at most.
            stdin: Text for the command's standard input, where secrets belong.

        Raises:
            BrokerError: It failed or took too long.
        """
        return self._node.ctl(*args, timeout=timeout, stdin=stdin)

    def log_text(self, since: int = 0) -> str:
        """Return the node's log from the byte offset `since` on."""
        return self._node.log_text(since)

    def log_size(self) -> int:
        """Return the length of the node's log in bytes: a `since` for later."""
        return self._node.log_size()

    def connections(self) -> list[dict[str, Any]]:
        """Return the open client connections as the broker itself lists them."""
        columns = ("pid", "name", "user", "vhost", "state", "ssl", "channels", "client_properties")
        output = self.ctl("list_connections", *columns, "--formatter", "json")
        rows: list[dict[str, Any]] = json.loads(output or "[]")
        return rows

    def add_user(
        self,
        name: str,
        password: str,
        tags: str = "",
        permissions: tuple[str, str, str] = (".*", ".*", ".*"),
        vhost: str = "/",
    ) -> None:
        """Create an internal user; these work beside OAuth 2.

        Args:
            name: Its name.
            password: Its password.
            tags: Tags separated by blanks, such as `administrator`.
            permissions: Regular expressions for configure, write and read.
            vhost: Where the permissions hold.
        """
        self.ctl("add_user", name, stdin=f"{password}\n")
        if tags:
            self.ctl("set_user_tags", name, *tags.split())
        self.ctl("set_permissions", "--vhost", vhost, name, *permissions)

    def add_vhost(self, name: str) -> None:
        """Create a virtual host, on which the internal administrator may do everything."""
        self.ctl("add_vhost", name)
        self.ctl("set_permissions", "--vhost", name, self.admin_user, ".*", ".*", ".*")
