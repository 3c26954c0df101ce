"""The TLS context: verified, 1.2 or newer, without parsing 140 authorities that nobody needs."""

from __future__ import annotations

import os
import ssl

from credproc.errors import UsageError


def make_context(*, verify: bool, ca_bundle: str | None) -> ssl.SSLContext:
    """Return a context for one connection.

    Args:
        verify: Whether the server's certificate is verified.
        ca_bundle: A PEM file (or hashed directory) of authorities to trust instead of the system's.

    Raises:
        UsageError: The file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_bundle:
        _load_bundle(context, ca_bundle)
    else:
        _load_system(context)
    return context


def _load_bundle(context: ssl.SSLContext, path: str) -> None:
    try:
        if os.path.isdir(path):  # noqa: PTH112 - pathlib takes 10 ms to import
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError as error:
        reason = (
            "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
        )
        raise UsageError(
            f"the CA bundle {path} cannot be used: {reason}",
            remedy="correct AWS_CA_BUNDLE (or SSL_CERT_FILE)",
        ) from None


def _load_system(context: ssl.SSLContext) -> None:
    """Trust the system's authorities.

    Where they lie in a directory under their hashes, OpenSSL reads the one it needs; parsing the
    whole bundle takes 44 ms.
    """
    paths = ssl.get_default_verify_paths()
    if paths.capath and _is_hashed(paths.capath):
        context.load_verify_locations(capath=paths.capath)
    else:
        context.load_default_certs()


def _is_hashed(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(
                entry.name[8:] == ".0" and not entry.name[:8].strip("0123456789abcdef")
                for entry in entries
            )
    except OSError:
        return False
