"""Puts an identity together from what the options name."""

from __future__ import annotations

from credproc.errors import IdentityError, UsageError
from credproc.files import read_file
from credproc.identity.certificates import end_entity, order_chain, read_certificates
from credproc.identity.openssl_key import load_openssl_key
from credproc.identity.signer import Identity
from credproc.light import TYPE_CHECKING

if TYPE_CHECKING:
    from credproc.identity.certificate import Certificate
    from credproc.identity.passwords import Passwords
    from credproc.identity.signer import Signer
    from credproc.options import SessionOptions

PKCS11 = "pkcs11:"
TPM = "handle:"


class CertificateFiles:
    """The certificates that the options name, before any key is touched.

    Splitting the two lets the cache's key be had without a password.

    Args:
        options: What the user wrote.

    Attributes:
        certificate: The end-entity certificate; None while it is inside a PKCS#12 container.
        others: All other certificates at hand.
        container: The content of the PKCS#12 container, if that is what `--certificate` names.

    Raises:
        IdentityError: A file cannot be read or understood.
        UsageError: No certificate is named.
    """

    certificate: Certificate | None = None
    container: bytes | None = None

    def __init__(self, options: SessionOptions) -> None:
        """Read the files."""
        self.options = options
        self.others: list[Certificate] = []
        if options.certificate is not None:
            self._read_certificate(options.certificate)
        if options.intermediates is not None:
            self._read_intermediates(options.intermediates)
        if self.certificate is None and self.container is None:
            if not self.others:
                raise UsageError("--certificate not given", remedy="name the certificate's file")
            self._take_leaf(self.others)

    def _read_certificate(self, path: str) -> None:
        content = read_file(path, "certificate")
        found = read_certificates(content, path)
        if found:
            self._take_leaf(found)
        elif _is_container(content):
            self.container = content
        elif content[:1] == b"\x30":
            raise IdentityError(
                f"the certificate {path} is damaged: it is neither a whole certificate in DER nor "
                "PKCS#12",
                remedy="see `openssl x509 -in FILE -inform DER -noout -text`",
            )
        else:
            raise IdentityError(
                f"the file {path} holds no certificate",
                remedy="--certificate takes PEM, DER or PKCS#12",
            )

    def _read_intermediates(self, path: str) -> None:
        found = read_certificates(read_file(path, "file of intermediates"), path, "intermediates")
        if not found:
            raise IdentityError(
                f"the file of intermediates {path} holds no certificate",
                remedy="--intermediates takes PEM or DER",
            )
        self.others += found

    def _take_leaf(self, found: list[Certificate]) -> None:
        self.certificate = end_entity(found)
        self.others = [one for one in (*self.others, *found) if one is not self.certificate]


def load_identity(options: SessionOptions, files: CertificateFiles | None = None) -> Identity:
    """Return the identity that `options` name.

    Args:
        options: What the user wrote.
        files: The certificates, if they have been read already.

    Raises:
        IdentityError: A file cannot be read or understood, or a password is wrong.
        UsageError: Something is not named that must be.
    """
    if uses_pkcs11(options):
        from credproc.identity.pkcs11 import load_pkcs11_identity

        return load_pkcs11_identity(options)
    files = files or CertificateFiles(options)
    if files.container is not None:
        return _from_container(options, files.container, files.others)
    if files.certificate is None:
        raise UsageError("--certificate not given", remedy="name the certificate's file")
    signer = load_signer(options)
    return Identity(files.certificate, order_chain(files.certificate, files.others), signer)


def uses_pkcs11(options: SessionOptions) -> bool:
    """Return whether certificate or key are named by a PKCS#11 URI."""
    return any(
        name is not None and name.startswith(PKCS11)
        for name in (options.certificate, options.private_key)
    )


def load_signer(options: SessionOptions, passwords: Passwords | None = None) -> Signer:
    """Return the private key of a file: the one that is named, or what the certificate's holds.

    Raises:
        IdentityError: There is none in it, or a password is wrong.
        UsageError: No file is named.
    """
    path = options.private_key or options.certificate
    if path is None:
        raise UsageError("--private-key not given", remedy="name the key's file")
    if path.startswith(TPM):
        from credproc.identity.keys import in_a_tpm

        raise in_a_tpm(path)
    content = read_file(path, "private key")

    def long_way() -> Signer:
        return _load_any(content, path, passwords or _passwords(options))

    return load_openssl_key(content, long_way) or long_way()


def _passwords(options: SessionOptions) -> Passwords:
    from credproc.identity.passwords import Passwords

    return Passwords(options)


def _load_any(content: bytes, path: str, passwords: Passwords) -> Signer:
    """Return the private key of a file, whatever its form."""
    if content[:1] == b"\x30" and _is_container(content):
        from credproc.identity.pkcs12 import load_pkcs12

        key, _ = load_pkcs12(content, path, passwords)
        if key is None:
            raise IdentityError(f"the PKCS#12 file {path} holds no private key")
        return key
    from credproc.identity.keys import load_key

    return load_key(content, path, passwords)


def _is_container(content: bytes) -> bool:
    """Return whether DER is PKCS#12: version 3, then a ContentInfo, which begins with an OID.

    So is what begins as BER of no stated length, as some programs write it and no certificate is.
    """
    from credproc.identity import der

    if content[:2] == b"\x30\x80":
        return True
    try:
        parts = der.sequence(content)
        return der.integer(parts[0]) == 3 and parts[1].children()[0].tag == der.OID
    except (der.DerError, IndexError):
        return False


def _from_container(options: SessionOptions, content: bytes, others: list[Certificate]) -> Identity:
    from credproc.identity.pkcs12 import load_pkcs12

    passwords = _passwords(options)
    path = str(options.certificate)
    key, certificates = load_pkcs12(content, path, passwords)
    if not certificates:
        raise IdentityError(f"the PKCS#12 file {path} holds no certificate")
    signer: Signer | None = key
    if options.private_key is not None:
        signer = load_signer(options, passwords)
    if signer is None:
        raise IdentityError(
            f"the PKCS#12 file {path} holds no private key", remedy="name it with --private-key"
        )
    leaf = _own_certificate(certificates, signer)
    return Identity(leaf, order_chain(leaf, (*certificates, *others)), signer)


def _own_certificate(certificates: list[Certificate], signer: Signer) -> Certificate:
    public = signer.public_key()
    for certificate in certificates:
        if certificate.public_key == public:
            return certificate
    return end_entity(certificates)
