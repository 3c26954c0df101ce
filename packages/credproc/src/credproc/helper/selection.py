"""Which backend signs: ours, unless only the helper can."""

from __future__ import annotations

import sys

from credproc.errors import IdentityError
from credproc.files import read_file
from credproc.identity.load import TPM
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from credproc.options import SessionOptions

TPM_KEY = b"-----BEGIN TSS2 PRIVATE KEY-----"


def reason_for_helper(options: SessionOptions) -> str | None:
    """Return why the helper is to be run, None if the native signer is."""
    if options.backend == "native":
        return None
    if options.backend == "helper":
        return "--backend helper asks for it"
    return only_helper_can(options)


def only_helper_can(options: SessionOptions) -> str | None:
    """Return what in the options the native signer cannot do, None if it can do everything."""
    if options.private_key is not None and options.private_key.startswith(TPM):
        return "the key is in a TPM"
    key = options.private_key or options.certificate
    if key is not None:
        return "the key belongs to a TPM" if _is_tpm_key(key) else None
    if options.cert_selector or options.use_latest_expiring_certificate:
        return "the certificate is in the system's store"
    return None


def announce(reason: str, options: SessionOptions) -> None:
    """Say why the helper runs, to those who watch: SDKs show standard error as an error."""
    if options.debug or sys.stderr.isatty():
        sys.stderr.write(f"credproc: running aws_signing_helper: {reason}\n")
        sys.stderr.flush()


def _is_tpm_key(path: str) -> bool:
    if ":" in path.partition("/")[0]:  # a URI
        return False
    try:
        return TPM_KEY in read_file(path, "private key")
    except IdentityError:  # said where the key is needed
        return False
