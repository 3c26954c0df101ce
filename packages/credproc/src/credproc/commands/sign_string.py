"""`credproc sign-string`: does the key sign at all?"""

from __future__ import annotations

import hashlib
import json
import os
import sys

from credproc.arguments import add_session_flags, session_flags
from credproc.identity import algorithms, der
from credproc.identity.load import PKCS11, load_identity, load_signer
from credproc.light import TYPE_CHECKING
from credproc.options import SessionOptions, convert, from_environment

if TYPE_CHECKING:
    import argparse

    from credproc.cli import Commands
    from credproc.identity.signer import Signer

PREFIX = b"AWS Roles Anywhere Credential Helper Signing Test"
VERSION = b"1"


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "sign-string",
        help="sign a fixed string with the key",
        description="Sign a fixed string with the private key and print the signature.",
    )
    parser.add_argument(
        "--format", type=str.lower, choices=("json", "text", "bin"), default="json", help="(json)"
    )
    parser.add_argument(
        "--digest",
        type=str.upper,
        choices=("SHA256", "SHA384", "SHA512"),
        default="SHA256",
        help="(SHA256)",
    )
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the signature."""
    from credproc.flags import BY_FIELD

    given = {**from_environment(os.environ), **session_flags(arguments)}
    values = {field: convert(BY_FIELD[field], value) for field, value in given.items()}
    arns = {"role_arn": "", "profile_arn": "", "trust_anchor_arn": ""}
    options = SessionOptions(**{**arns, **values})  # type: ignore[arg-type] # converted above
    signer = _signer(options)
    signature = signer.sign(fixed_string(signer), arguments.digest)
    if arguments.format == "bin":
        sys.stdout.buffer.write(signature)
    elif arguments.format == "text":
        sys.stdout.write(signature.hex())
    else:
        sys.stdout.write(json.dumps(signature.hex()))
    return 0


def _signer(options: SessionOptions) -> Signer:
    names = (options.private_key or "", options.certificate or "")
    if any(name.startswith(PKCS11) for name in names) and options.certificate is not None:
        return load_identity(options).signer
    return load_signer(options)


def fixed_string(signer: Signer) -> bytes:
    """Return what is signed: a constant and the hash of the public key.

    The public key counts as its PKCS#1 encoding (RSA) or as its point (EC); that of ML-DSA does
    not count, as in the official helper.
    """
    if signer.key_algorithm in algorithms.ML_DSA:
        return PREFIX + VERSION
    public = der.sequence(signer.public_key())[1].content[1:]
    return PREFIX + VERSION + hashlib.sha256(b"IAM RA" + public).digest()
