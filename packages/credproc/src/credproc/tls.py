"""TLS on a socket: verified, 1.2 or newer, at a third of the start-up time of `import ssl`.

The `ssl` module is a Python layer of enumerations and conveniences above `_ssl`, and takes 15 ms to
import. What it adds to one verified client connection is little: it is here. The settings are those
of `ssl.create_default_context()`, and a test compares the two. In place of parsing the bundle of
140 authorities (44 ms), OpenSSL looks up the one it needs where the system has them hashed.
"""

from __future__ import annotations

import _ssl
import os

from credproc.errors import UsageError
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    import _socket
    from typing import Any

TLS_1_2 = 0x0303


class TlsLink:
    """A verified TLS connection above a connected socket.

    Args:
        link: The socket, with its time limit set.
        context: What `make_context` returned.
        host: The name (or address) that the server's certificate has to be for.

    Raises:
        OSError: `_ssl.SSLError` and its subclasses among them, as in the `ssl` module.
    """

    def __init__(self, link: _socket.socket, context: Any, host: str) -> None:
        """Shake hands."""
        self._link = link
        self._tls = context._wrap_socket(link, False, host)  # noqa: SLF001 - as `ssl` does
        self._tls.do_handshake()

    def settimeout(self, seconds: float) -> None:
        """Limit each of the following operations."""
        self._link.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end."""
        try:
            return bytes(self._tls.read(size))
        except (_ssl.SSLEOFError, _ssl.SSLZeroReturnError):
            return b""

    def version(self) -> str:
        """Return which TLS is spoken, such as `TLSv1.3`."""
        return str(self._tls.version())

    def close(self) -> None:
        """Close the socket; the answer is complete, so nobody waits for a farewell."""
        self._link.close()


def make_context(*, verify: bool, ca_bundle: str | None) -> _ssl._SSLContext:
    """Return a context for one connection.

    Args:
        verify: Whether the server's certificate is verified.
        ca_bundle: A PEM file (or hashed directory) of authorities to trust instead of the system's.

    Raises:
        UsageError: The file cannot be read.
    """
    context = _ssl._SSLContext(_ssl.PROTOCOL_TLS_CLIENT)  # noqa: SLF001
    context.minimum_version = TLS_1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = _ssl.CERT_NONE
    elif ca_bundle:
        _load_bundle(context, ca_bundle)
    else:
        _load_system(context)
    return context


def _load_bundle(context: _ssl._SSLContext, path: str) -> None:
    is_directory = os.path.isdir(path)  # pathlib takes 10 ms to import
    try:
        context.load_verify_locations(
            None if is_directory else path, path if is_directory else None, None
        )
    except OSError as error:
        no_pem = isinstance(error, _ssl.SSLError)
        reason = "it holds no PEM certificate" if no_pem else error.strerror
        raise UsageError(
            f"the CA bundle {path} cannot be used: {reason}",
            remedy="correct AWS_CA_BUNDLE (or SSL_CERT_FILE)",
        ) from None


def _load_system(context: _ssl._SSLContext) -> None:
    file_variable, file, directory_variable, directory = _ssl.get_default_verify_paths()
    directory = os.environ.get(directory_variable, directory)
    if file_variable not in os.environ and _is_hashed(directory):
        context.load_verify_locations(None, directory, None)
    elif os.path.exists(os.environ.get(file_variable, file)) or _is_hashed(directory):
        context.set_default_verify_paths()
    else:
        _load_known_bundle(context)


BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where distributions keep their authorities, for a Python that brings an OpenSSL of its own."""


def _load_known_bundle(context: _ssl._SSLContext) -> None:
    if _is_hashed("/etc/ssl/certs"):
        context.load_verify_locations(None, "/etc/ssl/certs", None)
        return
    for path in BUNDLES:
        if os.path.exists(path):
            context.load_verify_locations(path, None, None)
            return


def _is_hashed(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(
                entry.name[8:] == ".0" and not entry.name[:8].strip("0123456789abcdef")
                for entry in entries
            )
    except OSError:
        return False
