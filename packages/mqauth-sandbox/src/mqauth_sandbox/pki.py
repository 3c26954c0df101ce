"""Throwaway X.509 identities of every kind that IAM Roles Anywhere takes, and of many it refuses.

A `Pki` is one root. It issues end-entity certificates below chains of any depth, and each identity
writes itself to files in any container that a client may have to read.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from mqauth_sandbox.errors import NotInstalledError
from mqauth_sandbox.workdir import write_private

KeyType = Literal[
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
    "ec-p256",
    "ec-p384",
    "ec-p521",
    "ml-dsa-44",
    "ml-dsa-65",
    "ml-dsa-87",
]
Container = Literal["pkcs8", "traditional", "encrypted-pkcs8", "pkcs12", "pkcs12-openssl"]
Digest = Literal["sha1", "sha256", "sha384", "sha512"]

_CURVES: dict[str, ec.EllipticCurve] = {
    "ec-p256": ec.SECP256R1(),
    "ec-p384": ec.SECP384R1(),
    "ec-p521": ec.SECP521R1(),
}
_DIGESTS: dict[Digest, Any] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - what services refuse must be made to be refused
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_ML_DSA = "cryptography.hazmat.primitives.asymmetric.mldsa"
_YEAR = timedelta(days=365)
_SLACK = timedelta(minutes=10)
_OPENSSL_LIMIT = 30.0
_numbers = count(1)


@dataclass(frozen=True, kw_only=True)
class IdentityFiles:
    """Where an identity lies on disk, with secrets readable by their owner only.

    Attributes:
        certificate: PEM of the end-entity certificate, or the PKCS#12 file with everything.
        private_key: The key's file; None where it lies in the PKCS#12 file.
        intermediates: PEM of the intermediates, the issuer first; None without any.
        password: What opens the key, where it is encrypted.
    """

    certificate: Path
    private_key: Path | None
    intermediates: Path | None
    password: str | None = field(default=None, repr=False)

    def arguments(self) -> list[str]:
        """Return the options for a command line; a password is not among them."""
        options = ["--certificate", str(self.certificate)]
        if self.private_key is not None:
            options += ["--private-key", str(self.private_key)]
        if self.intermediates is not None:
            options += ["--intermediates", str(self.intermediates)]
        return options


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A certificate with its key and its chain.

    Attributes:
        certificate: The end-entity certificate.
        key: Its private key.
        chain: The intermediates, its issuer first; the root is not among them.
    """

    certificate: x509.Certificate
    key: Any = field(repr=False)
    chain: Sequence[x509.Certificate] = ()

    def write(
        self,
        directory: Path,
        container: Container = "pkcs8",
        *,
        password: str = "correct horse",  # noqa: S107 - of throwaway keys
    ) -> IdentityFiles:
        """Write the identity to new files in `directory`.

        Args:
            directory: Where; it exists.
            container: `pkcs8`, `traditional` (PKCS#1 or SEC 1), `encrypted-pkcs8` (PBES2), `pkcs12`
                (as OpenSSL 1 wrote them: SHA-1 and 3DES), `pkcs12-openssl` (with the defaults of
                the `openssl` command; OpenSSL 3: PBES2 and SHA-256).
            password: Password of encrypted containers.

        Raises:
            NotInstalledError: There is no `openssl` command to write PKCS#12 with.
        """
        stem = directory / f"identity-{next(_numbers)}"
        if container in ("pkcs12", "pkcs12-openssl"):
            path = stem.with_suffix(".p12")
            content = self._pkcs12(container, password)
            return IdentityFiles(
                certificate=write_private(path, content),
                private_key=None,
                intermediates=None,
                password=password,
            )
        encrypted = container == "encrypted-pkcs8"
        chain = b"".join(pem(one) for one in self.chain)
        return IdentityFiles(
            certificate=write_private(stem.with_suffix(".pem"), pem(self.certificate)),
            private_key=write_private(stem.with_suffix(".key"), self.key_pem(container, password)),
            intermediates=write_private(stem.with_suffix(".chain.pem"), chain) if chain else None,
            password=password if encrypted else None,
        )

    def key_pem(self, container: Container = "pkcs8", password: str = "") -> bytes:
        """Return the key's PEM in one of the PEM containers."""
        form = PrivateFormat.TraditionalOpenSSL if container == "traditional" else None
        encryption: KeySerializationEncryption = NoEncryption()
        if container == "encrypted-pkcs8":
            encryption = BestAvailableEncryption(password.encode())
        written: bytes = self.key.private_bytes(
            Encoding.PEM, form or PrivateFormat.PKCS8, encryption
        )
        return written

    def _pkcs12(self, container: Container, password: str) -> bytes:
        # By openssl, since cryptography writes no PKCS#12 with an empty password.
        bundle = self.key_pem() + b"".join(pem(one) for one in (self.certificate, *self.chain))
        command = ["openssl", "pkcs12", "-export", "-passout", "env:PKCS12_PASSWORD"]
        if container == "pkcs12":
            command += ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"]
        return _openssl(command, bundle, PKCS12_PASSWORD=password)


class Pki:
    """One root authority, and everything below it.

    Args:
        key: Type of the keys of the root and the intermediates.
        common_name: The root's name.

    Example:
        pki = Pki()
        files = pki.issue("rsa-2048", depth=2).write(tmp_path, "pkcs12-openssl")

    Attributes:
        root: The root's certificate: what a trust anchor holds.
    """

    def __init__(
        self, key: KeyType = "ec-p256", *, common_name: str = "mqauth sandbox root"
    ) -> None:
        """Make the root."""
        self._type = key
        self._key = new_key(key)
        self._name = _name(common_name)
        self.root = self._sign(
            _builder(self._name, self._key, None),
            issuer=self._name,
            signer=self._key,
            extensions=_authority_extensions(None),
        )
        self._chains: dict[tuple[int, KeyType], list[tuple[x509.Certificate, Any]]] = {}

    def issue(
        self,
        key: KeyType = "ec-p256",
        *,
        depth: int = 1,
        digest: Digest = "sha256",
        common_name: str = "host.example.com",
        serial: int | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        ca: bool = False,
        key_usage: Sequence[str] = ("digital_signature",),
        padding: int = 0,
        own_key: Any = None,
    ) -> Identity:
        """Issue an end-entity certificate.

        Args:
            key: Type of its key.
            depth: How many certificates lie between it and nothing, itself included and the root
                not: 1 is signed by the root, 2 by an intermediate below the root, and so on.
            digest: Digest of its signature; signatures of ML-DSA keys have none.
            common_name: Its subject.
            serial: Its serial number; None for a random one.
            not_before: When it begins to be valid; None for ten minutes ago.
            not_after: When it ends; None for in a year.
            ca: Whether it calls itself an authority.
            key_usage: Which uses it allows, by their names in `cryptography`; none for no
                extension at all.
            padding: Bytes of an extension that only takes room.
            own_key: A private key to certify, instead of a new one.
        """
        chain = self._intermediates(depth - 1)
        issuer, signer = (self._name, self._key)
        if chain:
            issuer, signer = chain[0][0].subject, chain[0][1]
        own = own_key if own_key is not None else new_key(key)
        extensions = _end_entity_extensions(ca=ca, key_usage=key_usage, padding=padding)
        builder = _builder(_name(common_name), own, serial, not_before, not_after)
        certificate = self._sign(
            builder, issuer=issuer, signer=signer, extensions=extensions, digest=digest
        )
        return Identity(certificate=certificate, key=own, chain=[one for one, _ in chain])

    def _intermediates(self, depth: int) -> list[tuple[x509.Certificate, Any]]:
        """Return as many intermediates, the lowest first; the same ones every time."""
        known = self._chains.setdefault((depth, self._type), [])
        issuer, signer = self._name, self._key
        for level in range(len(known), depth):
            key, name = new_key(self._type), _name(f"mqauth sandbox intermediate {level + 1}")
            certificate = self._sign(
                _builder(name, key, None),
                issuer=issuer,
                signer=signer,
                extensions=_authority_extensions(depth - level - 1),
            )
            known.insert(0, (certificate, key))
            issuer, signer = name, key
        return known

    def _sign(
        self,
        builder: x509.CertificateBuilder,
        *,
        issuer: x509.Name,
        signer: Any,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
        digest: Digest = "sha256",
    ) -> x509.Certificate:
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        pre_hashed = isinstance(signer, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        return builder.issuer_name(issuer).sign(signer, _DIGESTS[digest] if pre_hashed else None)


def new_key(kind: KeyType) -> Any:
    """Return a private key; RSA keys, which are slow to make, are new once per process and index.

    Raises:
        NotInstalledError: This release of cryptography has no ML-DSA.
    """
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    if kind.startswith("rsa"):
        return _rsa_key(int(kind.removeprefix("rsa-")))
    if kind not in get_args(KeyType):
        raise ValueError(f"there is no key type {kind!r}; known: {', '.join(get_args(KeyType))}")
    if not can_make(kind):
        raise NotInstalledError(
            "this release of cryptography has no ML-DSA", remedy="install a newer one"
        )
    return getattr(
        import_module(_ML_DSA), f"MLDSA{kind.removeprefix('ml-dsa-')}PrivateKey"
    ).generate()


def can_make(kind: KeyType) -> bool:
    """Return whether this release of cryptography can make such keys."""
    return not kind.startswith("ml-dsa") or find_spec(_ML_DSA) is not None


def pem(certificate: x509.Certificate) -> bytes:
    """Return the certificate's PEM."""
    return certificate.public_bytes(Encoding.PEM)


def _openssl(command: list[str], text: bytes, **environment: str) -> bytes:
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            check=True,
            timeout=_OPENSSL_LIMIT,
            env={**environment, "PATH": "/usr/local/bin:/usr/bin:/bin"},
        ).stdout
    except FileNotFoundError:
        raise NotInstalledError(
            "there is no openssl command to write PKCS#12 with",
            remedy="install the package openssl",
        ) from None


@cache
def _rsa_key(size: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mqauth sandbox"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name,
    key: Any,
    serial: int | None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(not_before or now - _SLACK)
        .not_valid_after(not_after or now + _YEAR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_extensions(path_length: int | None) -> list[tuple[x509.ExtensionType, bool]]:
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (_key_usage("key_cert_sign", "crl_sign"), True),
    ]


def _end_entity_extensions(
    *, ca: bool, key_usage: Sequence[str], padding: int
) -> list[tuple[x509.ExtensionType, bool]]:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=ca, path_length=None), True)
    ]
    if key_usage:
        extensions.append((_key_usage(*key_usage), True))
    if padding:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
        extensions.append((x509.UnrecognizedExtension(oid, b"\x04" * padding), False))
    return extensions


def _key_usage(*uses: str) -> x509.KeyUsage:
    known = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: name in uses for name in known})
