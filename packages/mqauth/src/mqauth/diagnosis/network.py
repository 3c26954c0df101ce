"""Reaching a host and trusting it, each failure with its cause and what to do about it."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

from mqauth.config.small_file import check_readable
from mqauth.credentials import ClientCertificate
from mqauth.diagnosis.findings import BrokenLinkError

_WRONG_NAME = (62, 63, 64)
_EXPIRED = (9, 10)
_AMQP_PORTS = "AMQPS usually is 5671, AMQP without TLS 5672"


def connect(what: str, host: str, port: int, timeout: float) -> socket.socket:
    """Open a TCP connection.

    Raises:
        BrokenLinkError: It cannot be opened in time.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BrokenLinkError(
            f"{what}: there is no address for {host} ({reason})",
            remedy="check the spelling of the host, and this host's DNS",
        ) from None
    try:
        link = socket.create_connection((host, port), timeout=timeout)
        # What is asked are many small frames, each of which waits for its answer.
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        raise BrokenLinkError(
            f"{what}: {host}:{port} did not answer within {timeout:g} s",
            remedy=f"let a firewall or security group pass port {port} from here",
        ) from None
    except OSError as error:
        shown = ", ".join(sorted({str(address[4][0]) for address in addresses}))
        raise BrokenLinkError(
            f"{what}: no connection to {host}:{port} ({shown}): {error.strerror or error}",
            remedy="check that it runs, and the port",
        ) from None
    return link


def context(
    what: str,
    ca_file: str | None,
    certificate: ClientCertificate | None = None,
    key_password: str | None = None,
) -> ssl.SSLContext:
    """Return TLS settings that verify the peer.

    Args:
        what: Who is spoken to, for messages.
        ca_file: PEM file, or folder, of the authorities to trust; None for those of the host.
        certificate: What to present if the peer asks.
        key_password: What its private key is encrypted with; without one, nobody is asked for it.

    Raises:
        BrokenLinkError: The file of authorities, or one's own certificate, cannot be used.
    """
    try:
        folder = _is_folder(ca_file)
        if ca_file is not None and not folder:
            check_readable(ca_file)
        settings = ssl.create_default_context(
            cafile=None if folder else ca_file, capath=ca_file if folder else None
        )
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        raise BrokenLinkError(
            f"{what}: the file of authorities {ca_file} cannot be used: {reason}",
            remedy="name a PEM file of certificates that this user may read",
        ) from None
    if certificate is not None:
        try:
            settings.load_cert_chain(
                certificate.certificate_file, certificate.private_key_file, key_password or ""
            )
        except OSError as error:
            raise BrokenLinkError(
                f"{what}: the client certificate {certificate.certificate_file} cannot be used: "
                f"{getattr(error, 'reason', None) or error.strerror or error}",
                remedy="renew it, and see that the key belongs to it",
            ) from None
    return settings


def _is_folder(path: object) -> bool:
    # What stands in somebody's settings may be of any kind.
    return isinstance(path, str | os.PathLike) and Path(path).is_dir()


def secure(
    what: str,
    link: socket.socket,
    host: str,
    settings: ssl.SSLContext,
    hint: str,
    *,
    ports: str = _AMQP_PORTS,
) -> ssl.SSLSocket:
    """Begin TLS on a connection.

    Args:
        what: Who is spoken to, for messages.
        link: The open connection; closed where this fails.
        host: The name that the peer's certificate must bear.
        settings: How to verify it.
        hint: How to name another authority.
        ports: Which port speaks TLS, and which does not.

    Raises:
        BrokenLinkError: The peer speaks no TLS, or cannot be trusted.
    """
    try:
        return settings.wrap_socket(link, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        link.close()
        raise BrokenLinkError(
            f"{what}: the certificate of {host} is not to be trusted: {error.verify_message}",
            remedy=_certificate_remedy(error.verify_code, hint),
        ) from None
    except TimeoutError:
        link.close()
        raise BrokenLinkError(
            f"{what}: {host} took the connection and did not begin TLS",
            remedy="check the port, and what stands in between",
        ) from None
    except OSError as error:
        link.close()
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        raise BrokenLinkError(
            f"{what}: no TLS with {host}: {reason}",
            remedy=f"is this the TLS port? {ports}",
        ) from None


def _certificate_remedy(code: int, hint: str) -> str:
    if code in _WRONG_NAME:
        return "connect to a name that the certificate bears"
    if code in _EXPIRED:
        return "renew the server's certificate, and compare the clocks"
    return hint
