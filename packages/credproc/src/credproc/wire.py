"""One HTTPS exchange: connects on a thread of its own while the caller loads the key."""

from __future__ import annotations

import _socket
import _thread  # `threading` takes 3 ms to import and is not needed for one thread

from credproc.errors import (
    AnswerError,
    CredprocError,
    UnavailableError,
    UntrustedServerError,
)
from credproc.http1 import HttpError, Response, read_response, request_bytes
from credproc.light import TYPE_CHECKING
from credproc.telling import step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from credproc.deadline import Deadline
    from credproc.endpoint import Endpoint
    from credproc.options import SessionOptions
    from credproc.tls import TlsLink


def start_thread(call: Callable[[], object]) -> None:
    """Make a call on a new thread."""
    _thread.start_new_thread(call, ())


MOMENT = 0.02
"""Seconds that TLS waits for the key at most; one that takes longer loads beside it."""


class Socket(_socket.socket):
    """A socket without the conveniences of the `socket` module, which takes 5 ms to import.

    A class of Python's own has weak references, which TLS needs.
    """


class Connection:
    """A connection to the service that is being made, then made, then used once.

    Its thread makes the TCP connection, and goes on to TLS when it is told that the key signs:
    both need Python's interpreter, which works for one of them at a time, while a signature (5 ms
    with an RSA key) and a handshake need it next to never.

    Args:
        endpoint: Where to.
        proxy: Through which proxy, if any.
        options: Its time limits and what it trusts.
        deadline: The limit of everything.
        beside: What has it make the connection on another thread.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        proxy: Endpoint | None,
        options: SessionOptions,
        deadline: Deadline,
        beside: Callable[[Callable[[], object]], object] = start_thread,
    ) -> None:
        """Begin to connect."""
        self._endpoint = endpoint
        self._proxy = proxy
        self._options = options
        self._deadline = deadline
        self._socket: Socket | TlsLink | None = None
        self._error: BaseException | None = None
        self._given_up = False
        self._waits_for_key = _thread.allocate_lock()
        self._waits_for_key.acquire()
        self._done = _thread.allocate_lock()
        self._done.acquire()
        beside(self._connect)

    def begin_tls(self) -> None:
        """Let TLS begin: the key is loaded, and about to sign."""
        self._waits_for_key.release()

    def post(
        self,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Response:
        """Send the request and return the answer.

        Args:
            target: Path and query.
            headers: All headers but those about the connection.
            body: The body.
            meanwhile: What to do while the service works.

        Raises:
            UnavailableError: There is no connection, or no answer in time.
            AnswerError: What came is no HTTP answer.
        """
        link = self._wait()
        try:
            link.settimeout(self._deadline.within(self._options.read_timeout))
            link.sendall(request_bytes(target, headers, body))
            meanwhile()
            return read_response(lambda size: self._receive(link, size))
        except HttpError as error:
            raise AnswerError(
                f"{self._place} answered something that cannot be read: {error}",
                remedy="check --endpoint and whatever stands between here and there",
            ) from None
        except TimeoutError:
            raise UnavailableError(
                f"{self._place} did not answer within {self._options.read_timeout} s",
                remedy="try again; --read-timeout changes the limit",
            ) from None
        except OSError as error:
            raise UnavailableError(
                f"the connection to {self._place} broke: {_reason(error)}", remedy="try again"
            ) from None
        finally:
            link.close()

    def abandon(self) -> None:
        """Close the connection, or let it be closed as soon as it stands."""
        self._given_up = True
        if self._done.acquire(blocking=False) and self._socket is not None:
            self._socket.close()

    @property
    def _place(self) -> str:
        return self._endpoint.authority

    def _receive(self, link: Socket | TlsLink, size: int) -> bytes:
        link.settimeout(self._deadline.within(self._options.read_timeout))
        return link.recv(size)

    def _wait(self) -> Socket | TlsLink:
        if self._endpoint.scheme == "https":
            import credproc.tls  # noqa: F401 - where the network is slow, before it is wanted
        # Name resolution knows no time limit of its own, so the wait for the thread has one.
        if not self._done.acquire(timeout=max(self._deadline.remaining(), 0.001)):
            self._given_up = True
            self._deadline.within(0)
        if self._error is not None:
            raise self._error
        if self._socket is None:
            raise UnavailableError(f"no connection to {self._place}")
        return self._socket

    def _connect(self) -> None:
        try:
            self._socket = self._open()
            if self._given_up:
                self._socket.close()
        except CredprocError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        finally:
            self._done.release()

    def _open(self) -> Socket | TlsLink:
        first = self._proxy or self._endpoint
        link = self._open_tcp(first.host, first.port)
        try:
            if self._proxy is not None:
                self._open_tunnel(link, self._proxy)
            return self._open_tls(link) if self._endpoint.scheme == "https" else link
        except BaseException:
            link.close()
            raise

    def _open_tcp(self, host: str, port: int) -> Socket:
        place = f"{host}:{port}"
        try:
            addresses = _socket.getaddrinfo(_ascii(host), port, type=_socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failure = UnavailableError(
                f"the host name {host} cannot be resolved: {_reason(error)}",
                remedy="check region and endpoint, and this host's DNS",
            )
            failure.retryable = getattr(error, "errno", None) == _socket.EAI_AGAIN
            raise failure from None
        problem = ""
        for family, kind, protocol, _, address in addresses:
            link = Socket(family, kind, protocol)
            link.settimeout(self._deadline.within(self._options.connect_timeout))
            try:
                link.connect(address)
                link.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            except TimeoutError:
                problem = f"no answer within {self._options.connect_timeout} s"
                link.close()
            except OSError as error:
                problem = _reason(error)
                link.close()
            else:
                if self._options.debug:
                    step(f"connected to {place} at {address[0]}")
                return link
        raise UnavailableError(
            f"{place} cannot be reached: {problem}",
            remedy="check the network and the firewall; behind a proxy, add --with-proxy",
        )

    def _open_tunnel(self, link: Socket, proxy: Endpoint) -> None:
        place = f"{self._endpoint.host}:{self._endpoint.port}"
        if self._endpoint.scheme == "http":
            raise UnavailableError("an http endpoint is not reached through a proxy")
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        if proxy.credentials:
            lines.append(f"Proxy-Authorization: Basic {_basic(proxy.credentials)}")
        try:
            link.settimeout(self._deadline.within(self._options.connect_timeout))
            link.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            answer = read_response(lambda _: link.recv(1), has_body=False)
        except (OSError, HttpError) as error:
            raise UnavailableError(
                f"the proxy {proxy.authority} opened no tunnel: {_reason(error)}",
                remedy="check HTTPS_PROXY",
            ) from None
        if not 200 <= answer.status < 300:
            failure = UnavailableError(
                f"the proxy {proxy.authority} refused a tunnel to {place} with {answer.status}",
                remedy="give HTTPS_PROXY its user name and password"
                if answer.status == 407
                else "let the proxy allow this host",
            )
            failure.retryable = answer.status >= 500
            raise failure

    def _open_tls(self, link: Socket) -> TlsLink:
        self._waits_for_key.acquire(timeout=MOMENT)
        if self._given_up:
            raise UnavailableError("the connection is not needed any more")
        import _ssl

        from credproc.tls import TlsLink, make_context

        options = self._options
        context = make_context(verify=not options.no_verify_ssl, ca_bundle=options.ca_bundle)
        link.settimeout(self._deadline.within(options.connect_timeout))
        try:
            secured = TlsLink(link, context, self._endpoint.host)
        except _ssl.SSLCertVerificationError as error:
            raise UntrustedServerError(
                f"the TLS certificate of {self._place} is not trusted: {error.verify_message}",
                remedy="name its authority with AWS_CA_BUNDLE; check host name and clock",
            ) from None
        except TimeoutError:
            raise UnavailableError(
                f"{self._place} did not finish the TLS handshake within "
                f"{self._options.connect_timeout} s",
                remedy="try again; --connect-timeout changes the limit",
            ) from None
        except _ssl.SSLError as error:
            failure = UnavailableError(
                f"{self._place} does not speak TLS with us: {_reason(error)}",
                remedy="check scheme and port of the endpoint",
            )
            failure.retryable = False
            raise failure from None
        except OSError as error:
            raise UnavailableError(
                f"{self._place} broke off the TLS handshake: {_reason(error)}", remedy="try again"
            ) from None
        if options.debug:
            trusted = options.ca_bundle or "the system's authorities"
            by = "not verified" if options.no_verify_ssl else f"verified by {trusted}"
            step(f"{secured.version()} with {self._place}, {by}")
        return secured


def _ascii(host: str) -> bytes:
    """Return a host name as the resolver takes it; bytes spare it the import of `idna`, 2 ms."""
    return host.encode("ascii" if host.isascii() else "idna")


def _basic(credentials: str) -> str:
    import binascii
    from urllib.parse import unquote

    return binascii.b2a_base64(unquote(credentials).encode(), newline=False).decode()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
