"""What makes two sessions the same."""

from __future__ import annotations

import os

from credproc.light import TYPE_CHECKING
from credproc.shortcut import file_facts

if TYPE_CHECKING:
    from credproc.identity.load import CertificateFiles
    from credproc.options import SessionOptions

IRRELEVANT = frozenset(
    {
        "debug",
        "no_cache",
        "cache_dir",
        "connect_timeout",
        "read_timeout",
        "time_limit",
        "max_attempts",
        "with_proxy",
        "helper",
        "backend",
        "reuse_pin",
        "tpm_key_password",
        "no_tpm_key_password",
        "pkcs8_password",
        "key_password_file",
    }
)
"""Fields that decide how credentials are had, not which; passwords among them."""

FILES = ("certificate", "private_key", "intermediates", "key_password_file", "ca_bundle")
"""Fields that may name files."""


def cache_key(options: SessionOptions, files: CertificateFiles | None) -> str:
    """Return the name under which a session's credentials are cached.

    The certificates count by their content, the key by what changes when its file is replaced.

    Args:
        options: What decides the session.
        files: Its certificates; None where they are not in files.
    """
    parts = [
        f"{field}={value!r}"
        for field, value in sorted(options._asdict().items())
        if field not in IRRELEVANT
    ]
    if files is not None:
        found = [files.certificate] if files.certificate is not None else []
        parts += [fingerprint(each.der) for each in (*found, *files.others)]
        parts.append(fingerprint(files.container or b""))
    key = options.private_key
    if key is not None and is_file(key):
        parts.append(file_facts(os.fsencode(key)).decode())
    return fingerprint("\0".join(parts).encode("utf-8", "surrogateescape"))


def fingerprint(data: bytes) -> str:
    """Return a short digest, without OpenSSL: those who find their answer cached need none."""
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    return blake2b(data, digest_size=20).hexdigest()


def involved_files(options: SessionOptions) -> list[str]:
    """Return the files whose change has to be noticed."""
    named = [getattr(options, field) for field in FILES]
    selector = options.cert_selector
    if selector is not None and selector.startswith("file://"):
        named.append(selector.removeprefix("file://"))
    return [path for path in named if path is not None and is_file(path)]


def is_file(name: str) -> bool:
    """Return whether a certificate's or key's name is a path rather than a URI."""
    return not name.startswith(("pkcs11:", "handle:"))
