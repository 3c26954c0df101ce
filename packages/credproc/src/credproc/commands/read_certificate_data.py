"""`credproc read-certificate-data`: what the certificate is to the service."""

from __future__ import annotations

import json
import sys

from credproc.arguments import add_switch
from credproc.errors import UsageError
from credproc.files import read_file
from credproc.flags import BY_NAME
from credproc.identity.algorithms import key_type
from credproc.identity.certificates import end_entity, read_certificates
from credproc.identity.selector import describe, matching, parse_selector
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from credproc.cli import Commands
    from credproc.identity.certificate import Certificate

DIGESTS = ("SHA256", "SHA384", "SHA512")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "read-certificate-data",
        help="print type, serial number and data of a certificate",
        description="Print a certificate's key type, serial number, data and algorithms as JSON; "
        "with --cert-selector, list those of the file that match.",
    )
    parser.add_argument("--certificate", metavar="PATH", help="PEM, DER or PKCS#12 file, or URI")
    parser.add_argument("--cert-selector", metavar="SPEC", help="which certificates to list")
    parser.add_argument("--system-store-name", metavar="NAME", default="MY", help="not on Linux")
    parser.add_argument("--pkcs11-lib", metavar="PATH", help="PKCS#11 module to load")
    parser.add_argument("--key-password-file", metavar="PATH", help="password of PKCS#12")
    add_switch(parser, BY_NAME["debug"])
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the data."""
    if arguments.certificate is None:
        raise UsageError(
            "--certificate not given", remedy="name a file: Linux has no certificate store"
        )
    found = certificates_of(arguments)
    if arguments.cert_selector:
        chosen = matching(parse_selector(arguments.cert_selector), found)
        sys.stdout.write("Matching identities\n" if chosen else "No matching identities\n")
        for number, certificate in enumerate(chosen, 1):
            sys.stdout.write(f"{number}) {describe(certificate)}\n")
        return 0
    sys.stdout.write(json.dumps(certificate_data(end_entity(found)), separators=(",", ":")))
    return 0


def certificates_of(arguments: argparse.Namespace) -> list[Certificate]:
    """Return the certificates that `--certificate` names.

    Raises:
        IdentityError: There are none.
    """
    from credproc.identity.load import PKCS11, load_identity
    from credproc.options import SessionOptions

    path = arguments.certificate
    if not path.startswith(PKCS11):
        found = read_certificates(read_file(path, "certificate"), path)
        if found:
            return found
    options = SessionOptions(
        "",
        "",
        "",
        certificate=path,
        key_password_file=arguments.key_password_file,
        pkcs11_lib=arguments.pkcs11_lib,
    )
    identity = load_identity(options)
    return [identity.certificate, *identity.chain]


def certificate_data(certificate: Certificate) -> dict[str, object]:
    """Return what the official helper prints."""
    kind = key_type(certificate.key_algorithm)
    is_ml_dsa = kind.startswith("ML-DSA")
    return {
        "keyType": kind,
        "certificateData": certificate.base64,
        "serialNumber": str(certificate.serial),
        "supportedAlgorithms": [kind] if is_ml_dsa else [kind + digest for digest in DIGESTS],
    }
