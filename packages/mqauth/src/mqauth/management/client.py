"""Asks RabbitMQ's management API, and once more with a new credential where one is refused.

Source: RabbitMQ, "HTTP API reference"; Amazon MQ developer guide, "Using IAM authentication", for
`:TOKEN` as basic authentication.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from mqauth.amazonmq import region_from_host
from mqauth.credentials import BrokerCredentials
from mqauth.errors import ManagementRefusedError, ManagementUnavailableError
from mqauth.management.facts import Overview, Permission, QueueFacts, WhoAmI
from mqauth.management.http import Answer, Http
from mqauth.providers._deadline import Deadline
from mqauth.providers._text import clean
from mqauth.providers._urls import check_url
from mqauth.rotation.source import CredentialSource

_T = TypeVar("_T")

_TLS_PORT = 15671


class ManagementClient:
    """Asks one broker's management API; changes nothing there.

    Args:
        url: Where it is, such as `https://rabbit.example.com:15671`; see `for_host`.
        source: Who signs in.
        ca_file: PEM file of the authorities that sign the broker's certificate; by default those
            that the host trusts. It is always verified.
        timeout: Seconds that one call may take, a retry with a new credential included.
        insecure: Whether the credential may cross a network in clear.

    Raises:
        ConfigurationError: The URL cannot work, or urllib3 is not installed.
        InsecureTransportError: It is plain HTTP to another host.
    """

    def __init__(
        self,
        url: str,
        source: CredentialSource,
        *,
        ca_file: str | None = None,
        timeout: float = 10.0,
        insecure: bool = False,
    ) -> None:
        """Check the URL; nothing is asked yet."""
        self.url = check_url(url, "the URL of the management API", insecure=insecure).rstrip("/")
        self._source = source
        self._timeout = timeout
        self._http = Http(self.url, ca_file=ca_file)

    @classmethod
    def for_host(
        cls,
        host: str,
        source: CredentialSource,
        *,
        ca_file: str | None = None,
        timeout: float = 10.0,
    ) -> ManagementClient:
        """Return the client for a broker's host: Amazon MQ's on port 443, others' on 15671."""
        port = "" if region_from_host(host) else f":{_TLS_PORT}"
        return cls(f"https://{host}{port}", source, ca_file=ca_file, timeout=timeout)

    def whoami(self) -> WhoAmI:
        """Return whom the broker takes the credential for.

        Raises:
            ManagementError: The broker refuses, or does not answer usefully; as for all calls here.
            CredentialError: There is no credential to sign in with; as for all calls here.
        """
        return self._read("/api/whoami", WhoAmI.from_json)

    def overview(self) -> Overview:
        """Return what runs there."""
        return self._read("/api/overview", Overview.from_json)

    def vhosts(self) -> list[str]:
        """Return the virtual hosts that the user may see."""
        return self._read("/api/vhosts", lambda found: [str(each["name"]) for each in found])

    def vhost_exists(self, vhost: str) -> bool:
        """Return whether there is such a virtual host, as far as the user may see it."""
        return self._ask(f"/api/vhosts/{_quoted(vhost)}", missing_is_fine=True) is not None

    def queue(self, vhost: str, name: str) -> QueueFacts | None:
        """Return a queue's state; None if there is no such queue."""
        path = f"/api/queues/{_quoted(vhost)}/{_quoted(name)}"
        found = self._ask(path, missing_is_fine=True)
        return None if found is None else self._understood(QueueFacts.from_json, found, path)

    def permissions(self, user: str) -> list[Permission]:
        """Return the permissions of one of the broker's own users; needs an administrator.

        Tokens bring theirs along as scopes: of their users the broker knows none.
        """
        path = f"/api/users/{_quoted(user)}/permissions"
        found = self._ask(path, missing_is_fine=True)
        read = lambda items: [Permission.from_json(item) for item in items]  # noqa: E731
        return [] if found is None else self._understood(read, found, path)

    def alive(self, vhost: str) -> bool:
        """Return whether the node serves: all virtual hosts run, and this one is there."""
        return self._is_well("/api/health/checks/virtual-hosts") and self.vhost_exists(vhost)

    def alarms(self) -> bool:
        """Return whether an alarm (memory, disk) keeps publishers waiting in the cluster."""
        return not self._is_well("/api/health/checks/alarms")

    def _is_well(self, path: str) -> bool:
        answer = self._answer(path)
        if answer.status == 503:  # the check's own way to say no
            return False
        self._check(answer, path)
        return True

    def _read(self, path: str, understand: Callable[[Any], _T]) -> _T:
        return self._understood(understand, self._ask(path), path)

    def _ask(self, path: str, *, missing_is_fine: bool = False) -> Any:
        answer = self._answer(path)
        if answer.status == 404 and missing_is_fine:
            return None
        self._check(answer, path)
        return answer.content

    def _answer(self, path: str) -> Answer:
        deadline = Deadline(self._timeout)
        credentials = self._source.get()
        answer = self._http.get(path, credentials, deadline)
        if answer.status != 401:
            return answer
        # It may have been revoked, or have run out on the broker's clock alone.
        self._source.invalidate(credentials)
        renewed = self._source.get()
        if renewed.password == credentials.password:
            return answer
        return self._http.get(path, renewed, deadline)

    def _check(self, answer: Answer, path: str) -> None:
        if answer.status < 300:
            return
        said = _reason(answer, self._source.current)
        where = f"the management API of {urlsplit(self.url).netloc}"
        if answer.status == 401:
            raise ManagementRefusedError(
                f"{where} refused the login: {said}",
                remedy="see the broker's log for the reason; the user needs the tag management, "
                "which a token has as the scope tag:management",
            )
        if answer.status == 403:
            raise ManagementRefusedError(
                f"{where} refuses {path} to this user: {said}",
                remedy="give it the tag monitoring or administrator and access to the vhost",
            )
        if 300 <= answer.status < 400 or answer.status == 404:
            raise ManagementRefusedError(
                f"{where} has no {path} (HTTP {answer.status})",
                remedy="check the URL, and that the management plugin is enabled",
            )
        if answer.status == 429 or answer.status >= 500:
            raise ManagementUnavailableError(
                f"{where} cannot serve now: HTTP {answer.status}: {said}",
                remedy="see the broker's log",
                retry_after=answer.retry_after,
            )
        raise ManagementRefusedError(
            f"{where} refuses {path}: HTTP {answer.status}: {said}", remedy="check the names in it"
        )

    def _understood(self, understand: Callable[[Any], _T], content: Any, path: str) -> _T:
        try:
            return understand(content)
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
        raise ManagementUnavailableError(
            f"{self.url}{path} gave an answer that is not RabbitMQ's",
            remedy="check the URL, and that no login page or proxy answers in its place",
        )


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _reason(answer: Answer, credentials: BrokerCredentials | None) -> str:
    content = answer.content
    said = content.get("reason", content.get("error")) if isinstance(content, Mapping) else None
    hidden = [credentials.password.reveal()] if credentials else []
    return clean(said or f"HTTP {answer.status}", hidden)
