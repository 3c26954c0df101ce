"""Asks for a key's password once, for commands that open sessions again and again."""

from __future__ import annotations

import os

from credproc.errors import CredprocError
from credproc.files import read_file
from credproc.helper.selection import reason_for_helper
from credproc.identity.load import TPM, CertificateFiles, uses_pkcs11
from credproc.identity.passwords import Passwords
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
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
