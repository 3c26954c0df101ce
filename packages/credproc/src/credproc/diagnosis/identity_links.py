"""The links on this host: certificate, key, chain, and when the certificate runs out."""

from __future__ import annotations

import os
import stat
import time

from cryptography import x509

from credproc.credentials import format_time
from credproc.diagnosis.links import Facts, Warn
from credproc.helper.environment import clean_environment
from credproc.helper.locate import find_helper
from credproc.helper.selection import only_helper_can
from credproc.helper.session import check_version
from credproc.identity.certificate import Certificate
from credproc.identity.checks import check_certificate, check_chain, check_identity
from credproc.identity.load import CertificateFiles, load_identity, uses_pkcs11

DAY = 86400
SOON = 30 * DAY
"""A certificate with less than this left is worth a warning, or with less than a third of its time,
if it is issued for shorter times."""

_TEST = b"credproc doctor"


def certificate(facts: Facts) -> str:
    """Look at the certificate's file and what the service would refuse it for."""
    if uses_pkcs11(facts.options):
        facts.identity = load_identity(facts.options)
        facts.certificate = facts.identity.certificate
    elif facts.options.certificate is None and facts.helper:
        return f"not in a file: {facts.helper}"
    else:
        facts.files = CertificateFiles(facts.options)
        if facts.files.certificate is None:
            # In a PKCS#12 container, whose password is the key's too.
            facts.identity = load_identity(facts.options, facts.files)
            facts.certificate = facts.identity.certificate
        else:
            facts.certificate = facts.files.certificate
    check_certificate(facts.certificate)
    end = format_time(facts.certificate.not_after)
    return f"{_name(facts.certificate, 'subject')}, valid until {end}"


def key(facts: Facts) -> str:
    """Look whether the key can be read, belongs to the certificate and signs."""
    if facts.helper:
        return _helper(facts)
    if facts.identity is None:
        facts.identity = load_identity(facts.options, facts.files)
    check_identity(facts.identity)
    facts.identity.signer.sign(_TEST)
    path = facts.options.private_key or facts.options.certificate
    if path and not uses_pkcs11(facts.options):
        _warn_if_open(path)
    return "belongs to the certificate and signs"


def chain(facts: Facts) -> str:
    """Look at the intermediates, and say what the trust anchor has to hold."""
    if facts.identity is None:
        return "left to aws_signing_helper"
    certificates = facts.identity.chain
    check_chain(certificates)
    top = certificates[-1] if certificates else facts.identity.certificate
    count = len(certificates)
    between = f"{count} intermediate{'s' if count > 1 else ''}" if count else "no intermediates"
    return f"{between}; the trust anchor has to hold {_name(top, 'issuer')}"


def expiry(facts: Facts) -> str:
    """Warn of a certificate that runs out soon."""
    if facts.certificate is None:
        return "the certificate is not in a file"
    left = facts.certificate.not_after - time.time()
    lifetime = facts.certificate.not_after - facts.certificate.not_before
    text = f"the certificate lasts {_duration(left)} more"
    if left < min(SOON, lifetime / 3):
        raise Warn(text, "have it renewed before it stops every session")
    return text


def _helper(facts: Facts) -> str:
    needed_since = only_helper_can(facts.options)
    helper = find_helper(facts.options.helper, os.environ, needed_since)
    version = check_version(helper, clean_environment(facts.options, os.environ))
    return f"{facts.helper}; {helper} {'.'.join(map(str, version))} signs"


def _warn_if_open(path: str) -> None:
    mode = os.stat(path).st_mode  # a path as the user wrote it
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise Warn(
            f"others may read or write the key {path} (mode {stat.S_IMODE(mode):04o})",
            "chmod 0600 it, or 0640 with a group of its own; have a new one issued if it was read",
        )


def _name(parsed: Certificate, which: str) -> str:
    loaded = x509.load_der_x509_certificate(parsed.der)
    name = loaded.subject if which == "subject" else loaded.issuer
    return name.rfc4514_string() or "(an empty name)"


def _duration(seconds: float) -> str:
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:.0f} days"
    return f"{seconds / 3600:.1f} hours"
