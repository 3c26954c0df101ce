"""Turns what the helper writes to standard error into our errors."""

from __future__ import annotations

import json
import re

from credproc.errors import (
    AnswerError,
    CredprocError,
    HelperError,
    IdentityError,
    UnavailableError,
    UntrustedServerError,
)
from credproc.http1 import Response
from credproc.light import TYPE_CHECKING
from credproc.refusals import refusal

if TYPE_CHECKING:
    from credproc.helper.process import Finished

LONGEST = 300
_STATUS = re.compile(
    r"StatusCode: (?P<status>\d{3}).*?RequestID: [^,]*, (?:api error )?(?P<code>\w+): (?P<text>.*)"
)
_DATE = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ")
_URL = re.compile(r'(Post|Get) "[^"]*"')
_BLOB = re.compile(r"[A-Za-z0-9+/=_-]{100,}")

_FILES = "check --certificate, --private-key and --intermediates; credproc doctor says more"
_ANSWER = "check --endpoint; if it is AWS's own, try again later"
_COMPLAINTS: tuple[tuple[str, type[CredprocError], str, str], ...] = (
    (
        "unable to use cert store signer on linux",
        HelperError,
        "Linux has no system certificate store with keys",
        "name files with --certificate and --private-key, or a pkcs11: URI",
    ),
    (
        "x509:",
        UntrustedServerError,
        "the server's certificate is not trusted",
        "name the authority's file with AWS_CA_BUNDLE",
    ),
    ("tls:", UntrustedServerError, "there is no TLS with the server", "check --endpoint"),
    ("no such host", UnavailableError, "the server's name is not known", "check DNS and region"),
    (
        "connection refused",
        UnavailableError,
        "the server takes no connections",
        "check --endpoint, firewall and proxy",
    ),
    ("timeout", UnavailableError, "the server did not answer in time", "check the network"),
    ("request send failed", UnavailableError, "the request cannot be sent", "check the network"),
    (
        "deserialization failed",
        AnswerError,
        "the service's answer cannot be used",
        _ANSWER,
    ),
    (
        "unable to obtain temporary security credentials",
        AnswerError,
        "the service's answer holds no credentials",
        _ANSWER,
    ),
    (
        "/dev/tpm",
        HelperError,
        "the TPM cannot be opened",
        "check that there is one and that this user may use it (group tss), or set TPM_DEVICE",
    ),
    (
        "password is provided but TPM key file indicates",
        IdentityError,
        "the TPM key has no password, and one is given",
        "leave the password out",
    ),
    (
        "authorization HMAC check failed",
        IdentityError,
        "the TPM refuses the password of the key, and locks itself after too many tries",
        "correct the password, or leave it out for a key without",
    ),
    ("password", IdentityError, "the password of the key is wrong or missing", "correct it"),
    ("TPM", IdentityError, "the TPM key cannot be used", "check the key and the TPM it is of"),
    ("pkcs11", IdentityError, "the PKCS#11 key cannot be used", "check the URI and --pkcs11-lib"),
    ("matching", IdentityError, "the key cannot be found in the token", "check the pkcs11: URI"),
    ("PEM", IdentityError, "a certificate or key cannot be read", _FILES),
    ("private key", IdentityError, "the private key cannot be read", _FILES),
    ("certificate", IdentityError, "a certificate cannot be used", _FILES),
)


def complaint(finished: Finished, hidden: tuple[str, ...] = ()) -> CredprocError:
    """Return the error that a failed run of the helper stands for.

    Args:
        finished: How it ended.
        hidden: Secrets that it was given, which must not show.
    """
    text = finished.errors.decode("utf-8", "replace")
    said = _said(text, hidden)
    if text.startswith("panic:") or "\npanic:" in text:
        return AnswerError(
            "the service's answer cannot be used: aws_signing_helper crashed on it",
            remedy="check --endpoint; if it is AWS's own, try again later",
        )
    if found := _STATUS.search(" ".join(text.split())):
        document = {"__type": found["code"], "message": _clean(found["text"], hidden)}
        response = Response(int(found["status"]), {}, json.dumps(document).encode())
        return refusal(response, "the service (through aws_signing_helper)")
    for words, kind, problem, remedy in _COMPLAINTS:
        if words in text:
            return kind(f"{problem} (aws_signing_helper: {said})", remedy=remedy)
    ending = f"signal {-finished.code}" if finished.code < 0 else f"exit code {finished.code}"
    return HelperError(
        f"aws_signing_helper failed with {ending}{f': {said}' if said else ''}",
        remedy="run it by hand, or use --backend native",
    )


def _said(text: str, hidden: tuple[str, ...]) -> str:
    """Return the first line that says something, without date, addresses and secrets."""
    for line in text.splitlines():
        if line.strip():
            return _clean(_DATE.sub("", line.strip()), hidden)
    return ""


def _clean(text: str, hidden: tuple[str, ...]) -> str:
    for secret in hidden:
        text = text.replace(secret, "********") if secret else text
    text = _BLOB.sub("...", _URL.sub(r"\1", text))
    return "".join(letter if letter.isprintable() else " " for letter in text)[:LONGEST]
