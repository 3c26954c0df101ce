"""The way in for programs: cache, then single flight, then a backend."""

from __future__ import annotations

import os

from credproc.cache_key import is_file
from credproc.errors import CredprocError
from credproc.files import read_file
from credproc.helper.selection import reason_for_helper
from credproc.identity.load import CertificateFiles, uses_pkcs11
from credproc.light import TYPE_CHECKING
from credproc.telling import step, untold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from credproc.cache import SessionCache
    from credproc.credentials import SessionCredentials
    from credproc.identity.signer import Identity
    from credproc.options import SessionOptions

PATIENCE = 2.0
"""Seconds that others wait beyond the time limit of the one who fetches."""


def obtain(
    options: SessionOptions,
    *,
    renew: bool = False,
    words: Sequence[str] | None = None,
    config: str | None = None,
) -> SessionCredentials:
    """Return credentials of the session that `options` describe.

    Args:
        options: What decides the session.
        renew: Do not serve what was cached before; what comes is cached all the same.
        words: The command line, if the next run of the same one may take a shorter way.
        config: The file of named profiles, if the line names one.

    Raises:
        CredprocError: There are none to be had.
    """
    told = step if options.debug else untold
    cache = _cache(options)
    files = certificate_files(options)
    if cache is None:
        told(f"cache: none, {'as asked for' if options.no_cache else 'as no place is private'}")
        fetched = fetch(options, files)
        told(f"session: lasts until {fetched.expiration_text}")
        return fetched
    told(f"cache: {cache.directory}")
    from credproc.cache_key import cache_key
    from credproc.single_flight import SingleFlight

    key = cache_key(options, files)
    limit = options.time_limit + PATIENCE
    fetching = _Fetching(options, files)
    flight = SingleFlight(cache, key, fetching.fetch, limit, told, prepare=fetching.prepare)
    credentials = flight.obtain(renew=renew)
    told(f"session: lasts until {credentials.expiration_text}")
    if words is not None:
        from credproc.remembering import remember

        remember(cache, key, options, words, config)
    return credentials


def _cache(options: SessionOptions) -> SessionCache | None:
    if options.no_cache:
        return None
    from credproc.cache import open_cache

    return open_cache(options, os.environb)


def certificate_files(options: SessionOptions) -> CertificateFiles | None:
    """Return the certificates that the options name; None where they are not in files.

    Raises:
        CredprocError: They cannot be read.
    """
    in_store = options.certificate is None and reason_for_helper(options) is not None
    return None if in_store or uses_pkcs11(options) else CertificateFiles(options)


class _Fetching:
    """A fetch, and what somebody has to type for it before anybody waits for it."""

    def __init__(self, options: SessionOptions, files: CertificateFiles | None) -> None:
        self._options = options
        self._files = files
        self._identity: Identity | None = None

    def prepare(self) -> None:
        """Have the password typed, if one is needed and not given, and tried.

        Raises:
            CredprocError: The key cannot be used.
        """
        if _may_ask(self._options, self._files):
            from credproc.asking import unlocked  # seldom, and it loads what it takes to sign

            self._options, self._identity = unlocked(self._options, self._files)

    def fetch(self) -> SessionCredentials:
        """Fetch the credentials."""
        return fetch(self._options, self._files, self._identity)


def _may_ask(options: SessionOptions, files: CertificateFiles | None) -> bool:
    """Return whether a password may have to be typed: where none is given and one is needed."""
    if uses_pkcs11(options) and not options.reuse_pin:  # the key may ask each time
        return True
    if options.pkcs8_password is not None or options.key_password_file is not None:
        return False
    if files is None or files.container is not None:  # a token, a TPM or PKCS#12
        return True
    path = options.private_key or options.certificate or ""
    if not is_file(path):
        return True
    try:
        content = read_file(path, "private key")
    except CredprocError:  # said, with its cause, where the session is opened
        return False
    return content[:1] == b"\x30" or b"ENCRYPTED" in content


def fetch(
    options: SessionOptions, files: CertificateFiles | None, identity: Identity | None = None
) -> SessionCredentials:
    """Fetch credentials by the backend that the options ask for, past any cache.

    Args:
        options: What decides the session.
        files: The certificates, if they have been read already.
        identity: The identity, if it has been loaded already.

    Raises:
        CredprocError: There are none to be had.
    """
    reason = reason_for_helper(options)
    if reason is not None:
        from credproc.helper.selection import announce
        from credproc.helper.session import create_session_by_helper

        announce(reason, options)
        return create_session_by_helper(options, files)
    from credproc.create_session import create_session  # not while others fetch

    return create_session(options, files, identity)
