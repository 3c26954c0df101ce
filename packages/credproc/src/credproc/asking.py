"""Asks for a key's password once, before a session that others wait for, or many, are opened."""

from __future__ import annotations

import os
import time

from credproc.arns import check_target
from credproc.errors import CredprocError
from credproc.files import read_file
from credproc.helper.selection import reason_for_helper
from credproc.identity.checks import check_certificate
from credproc.identity.load import TPM, CertificateFiles, load_identity, uses_pkcs11
from credproc.identity.passwords import Passwords
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from credproc.identity.signer import Identity
    from credproc.options import SessionOptions

_ENCRYPTED = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")


def with_password(options: SessionOptions) -> SessionOptions:
    """Return the options with the password that the key needs, asked for on the terminal.

    Nothing is asked where a password is given, where there is no terminal, and for tokens, which
    say themselves when they want a PIN.

    Raises:
        IdentityError: None was typed, or the password's file cannot be read.
    """
    if uses_pkcs11(options) or not _has_terminal():
        return options
    passwords = Passwords(options)
    if options.tpm_key_password is not None or passwords.given() is not None:
        return options
    if reason_for_helper(options) and _is_handle(options):
        if options.no_tpm_key_password:
            return options
        return options._replace(tpm_key_password=passwords.ask("the TPM key"))
    if _is_encrypted(options):
        return options._replace(pkcs8_password=passwords.ask("the private key"))
    return options


def unlocked(
    options: SessionOptions, files: CertificateFiles | None
) -> tuple[SessionOptions, Identity | None]:
    """Return the options and the identity with every password typed and tried.

    So nobody waits for a lock that somebody holds who is asked for a password. Nothing is done
    where there is no terminal: another process may have the session soon.

    Args:
        options: What decides the session.
        files: The certificates, if they have been read already.

    Raises:
        CredprocError: The session cannot be opened, which is said before anything is asked, or the
            password is wrong.
    """
    if not _has_terminal():
        return options, None
    began = time.monotonic()
    check_target(options)
    if files is not None and files.certificate is not None:
        check_certificate(files.certificate)
    identity: Identity | None = None
    if reason_for_helper(options):
        if not _is_handle(options):  # the TPM alone knows whether it wants a password
            options = with_password(options)
    else:
        identity = load_identity(options, files)
        if uses_pkcs11(options):
            from credproc.identity.pkcs11_key import Pkcs11Key

            if isinstance(identity.signer, Pkcs11Key):
                identity.signer.ask_ahead()
    left = options.time_limit - (time.monotonic() - began)
    return options._replace(time_limit=max(1, int(left))), identity


def _is_handle(options: SessionOptions) -> bool:
    return options.private_key is not None and options.private_key.startswith(TPM)


def _is_encrypted(options: SessionOptions) -> bool:
    """Return whether the key lies in an encrypted PEM or in a PKCS#12 container."""
    try:
        if CertificateFiles(options).container is not None:
            return True
        content = read_file(options.private_key or options.certificate or "", "private key")
    except CredprocError:  # said, with its cause, where the session is opened
        return False
    return any(mark in content for mark in _ENCRYPTED)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
