"""A running oidc-provider: clients of every kind of authentication, tokens that RabbitMQ takes.

Its clients have fixed names: `basic` and `post` share a secret, `signing` proves itself by an
assertion, `certified` by a certificate of the sandbox's authority for `dns_name`, `self-signed` by
the one given; all of them use the client credentials grant. `refreshing`, which has the secret too,
has a user's refresh token, which is replaced with every use.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mqauth_sandbox.errors import SandboxError
from mqauth_sandbox.oidc import default_scopes
from mqauth_sandbox.oidc_provider.prepare import find_oidc_provider
from mqauth_sandbox.ports import free_ports
from mqauth_sandbox.running import Restartable
from mqauth_sandbox.tls import CertificateFiles

_START_LIMIT = 30.0
_ANSWER_LIMIT = 10.0
_STOP_LIMIT = 5.0


class OidcProvider(Restartable):
    """One oidc-provider on loopback, over HTTPS; usable as a context manager.

    Args:
        certificates: Its certificate, and the authority that it takes client certificates from.
        self_signed: PEM file of the certificate of the client `self-signed`.
        public_keys: JSON Web Keys of the client `signing`.
        dns_name: The name that the certificate of the client `certified` bears.
        token_lifetime: Seconds that tokens live.
        audience: Audience of the tokens, and prefix of their scopes.

    Attributes:
        client_secret: The secret of the clients that have one.
        resource: The resource that tokens are for, unless a client asks for another.
        scopes: All scopes that clients may ask for; they get none that they do not ask for.
        user: The user whom the first refresh token is for.
        refresh_token: That token; set by `start`.
    """

    resource = "https://rabbitmq.example"
    user = "alice"

    def __init__(
        self,
        *,
        certificates: CertificateFiles,
        self_signed: Path,
        public_keys: Sequence[Mapping[str, Any]],
        dns_name: str,
        token_lifetime: int = 300,
        audience: str = "rabbitmq",
    ) -> None:
        """Choose a port and a secret; nothing runs yet."""
        (self._port,) = free_ports(1)
        self._process: subprocess.Popen[str] | None = None
        self._said: deque[str] = deque(maxlen=20)
        self.client_secret = secrets.token_urlsafe(24)
        self.scopes = default_scopes(audience)
        self.refresh_token = ""
        self._config = {
            "port": self._port,
            "certificate": str(certificates.certificate_file),
            "privateKey": str(certificates.key_file),
            "authority": str(certificates.ca_file),
            "selfSigned": str(self_signed),
            "publicKeys": [dict(key) for key in public_keys],
            "dnsName": dns_name,
            "clientSecret": self.client_secret,
            "tokenLifetime": token_lifetime,
            "audience": audience,
            "resource": self.resource,
            "scopes": self.scopes,
            "user": self.user,
        }

    @property
    def issuer_url(self) -> str:
        """The `iss` of its tokens, and what discovery starts from."""
        return f"https://localhost:{self._port}"

    @property
    def jwks_uri(self) -> str:
        """Where brokers read the public keys."""
        return f"{self.issuer_url}/jwks"

    @property
    def fetches(self) -> int:
        """How many token requests it has granted so far."""
        return int(self._ask("tokens", "TOKENS ", _ANSWER_LIMIT))

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            NotInstalledError: It is not prepared.
            SandboxError: It did not start; the text holds what it said last.
        """
        node, program = find_oidc_provider()
        self._process = subprocess.Popen(
            [node, str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C in a terminal must reach the sandbox only, which then ends it.
            start_new_session=True,
        )
        try:
            # Not by arguments: the secret would show in the list of processes.
            ready = self._ask(json.dumps(self._config), "READY ", _START_LIMIT)
        except BaseException:
            self.stop()
            raise
        self.refresh_token = json.loads(ready)["refreshToken"]

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_STOP_LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()

    def _ask(self, line: str, prefix: str, limit: float) -> str:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise SandboxError("oidc-provider does not run", remedy="call start()")
        overdue = threading.Timer(limit, process.kill)
        overdue.start()
        try:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            for said in process.stdout:
                if said.startswith(prefix):
                    return said.removeprefix(prefix).strip()
                self._said.append(said.strip())
        except BrokenPipeError:
            pass
        finally:
            overdue.cancel()
        raise SandboxError(
            f"oidc-provider has ended: {' / '.join(filter(None, self._said))[-600:]}",
            remedy="see what it said last",
        )
