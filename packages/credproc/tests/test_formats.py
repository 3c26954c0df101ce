"""Keys, certificates and containers of every form that users have, made by OpenSSL."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from credproc.errors import IdentityError
from credproc.identity import der
from credproc.identity.certificate import parse
from credproc.identity.certificates import end_entity, order_chain, read_certificates
from credproc.identity.checks import check_certificate, check_chain, check_identity
from credproc.identity.load import load_identity
from credproc.identity.names import rfc2253
from credproc.identity.pem import blocks
from credproc.identity.selector import matching, parse_selector
from credproc.identity.signer import Identity
from credproc.options import SessionOptions
from credproc.secret import Secret
from mqauth_sandbox.pki import KeyType, Pki, can_make

PASSWORD = "correct horse"
OPENSSL = shutil.which("openssl") or "/usr/bin/openssl"
MESSAGE = b"what is signed"


@pytest.fixture(autouse=True)
def not_without_ml_dsa(request: pytest.FixtureRequest) -> None:
    """Skip what cryptography brought only after the oldest release that we work with."""
    if "ml-dsa" in request.node.name.replace("_", "-") and not can_make("ml-dsa-65"):
        pytest.skip("this release of cryptography has no ML-DSA")


def openssl(*arguments: str | Path, text: bytes = b"") -> bytes:
    """Run OpenSSL."""
    return subprocess.run(
        [OPENSSL, *map(str, arguments)], input=text, check=True, capture_output=True, timeout=60
    ).stdout


def options_of(**fields: object) -> SessionOptions:
    """Return options with what an identity needs."""
    return SessionOptions("role", "profile", "anchor")._replace(**fields)  # type: ignore[arg-type]


def verify(identity: Identity, digest: str = "SHA256") -> None:
    """Check a signature against the certificate's public key."""
    public = x509.load_der_x509_certificate(identity.certificate.der).public_key()
    signature = identity.signer.sign(MESSAGE, digest)
    algorithm = getattr(hashes, digest)()
    if isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, MESSAGE, ec.ECDSA(algorithm))
    elif isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, MESSAGE, padding.PKCS1v15(), algorithm)
    else:
        public.verify(signature, MESSAGE)  # type: ignore[call-arg, union-attr] # ML-DSA


@pytest.fixture(scope="module")
def pki() -> Pki:
    """An authority."""
    return Pki()


@pytest.fixture(scope="module")
def folder(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an identity of each classic type, as `TYPE.pem` and `TYPE.key`."""
    path = tmp_path_factory.mktemp("identities")
    for kind in ("rsa-2048", "ec-p256", "ec-p384", "ec-p521"):
        identity = pki.issue(kind)
        certificate = identity.certificate.public_bytes(serialization.Encoding.PEM)
        (path / f"{kind}.pem").write_bytes(certificate)
        (path / f"{kind}.key").write_bytes(identity.key_pem())
    return path


@pytest.mark.parametrize("digest", ["SHA256", "SHA384", "SHA512"])
@pytest.mark.parametrize(
    "kind",
    get_args(KeyType),
)
def test_every_key_type(pki: Pki, kind: KeyType, digest: str, tmp_path: Path) -> None:
    """Each type signs with each digest, and its key belongs to its certificate."""
    files = pki.issue(kind).write(tmp_path)
    identity = load_identity(
        options_of(certificate=str(files.certificate), private_key=str(files.private_key))
    )
    check_identity(identity)
    check_certificate(identity.certificate)
    verify(identity, digest)


FORMS = {
    "pkcs8-der": ["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"],
    "aes-128": ["pkcs8", "-topk8", "-v2", "aes-128-cbc"],
    "aes-192": ["pkcs8", "-topk8", "-v2", "aes-192-cbc"],
    "aes-256": ["pkcs8", "-topk8", "-v2", "aes-256-cbc"],
    "3des": ["pkcs8", "-topk8", "-v2", "des3"],
    "hmac-sha1": ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"],
    "hmac-sha384": ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384"],
    "hmac-sha512": ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"],
    "scrypt": ["pkcs8", "-topk8", "-scrypt", "-scrypt_N", "1024"],
    "encrypted-der": ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-outform", "DER"],
    "traditional": ["pkey", "-traditional"],
    "traditional-encrypted": ["pkey", "-traditional", "-aes256"],
    "traditional-der": ["pkey", "-traditional", "-outform", "DER"],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p256"])
def test_every_form(folder: Path, tmp_path: Path, kind: str, form: str) -> None:
    """Each form of a key is read, and a wrong password is called one."""
    key = tmp_path / "host.key"
    command = FORMS[form]
    plain = "-nocrypt" in command or (command[0] == "pkey" and "-aes256" not in command)
    password = [] if plain else ["-passout", f"pass:{PASSWORD}"]
    openssl(*command, *password, "-in", folder / f"{kind}.key", "-out", key)
    options = options_of(certificate=str(folder / f"{kind}.pem"), private_key=str(key))
    if plain:
        verify(load_identity(options))
        return
    verify(load_identity(options._replace(pkcs8_password=Secret(PASSWORD))))
    with pytest.raises(IdentityError, match="the password does not open"):
        load_identity(options._replace(pkcs8_password=Secret("wrong")))


def test_ml_dsa_forms(pki: Pki, tmp_path: Path) -> None:
    """A seed is found bare, tagged and beside an expanded key; without one, that is said."""
    files = pki.issue("ml-dsa-44").write(tmp_path)
    assert files.private_key is not None
    seed_alone = blocks(files.private_key.read_bytes())[0].der
    head, seed = seed_alone[2:-36], seed_alone[-32:]
    both = b"\x30\x82\x0a\x26\x04\x20" + seed + b"\x04\x82\x0a\x00" + bytes(2560)
    options = options_of(certificate=str(files.certificate), private_key=str(files.private_key))
    for inner in (seed, b"\x80\x20" + seed, both):
        length = len(inner).to_bytes(2, "big")
        body = head + b"\x04\x82" + length + inner
        files.private_key.write_bytes(b"\x30\x82" + len(body).to_bytes(2, "big") + body)
        identity = load_identity(options)
        check_identity(identity)
        verify(identity)
    body = head + b"\x04\x82\x0a\x04\x04\x82\x0a\x00" + bytes(2560)
    files.private_key.write_bytes(b"\x30\x82" + len(body).to_bytes(2, "big") + body)
    with pytest.raises(IdentityError, match="without its seed"):
        load_identity(options)


@pytest.mark.parametrize("password", [PASSWORD, ""])
@pytest.mark.parametrize("algorithms", [[], ["-keypbe", "AES-128-CBC", "-certpbe", "NONE"]])
def test_pkcs12(pki: Pki, tmp_path: Path, password: str, algorithms: list[str]) -> None:
    """A container of today's OpenSSL gives certificate, chain and key."""
    issued = pki.issue("ec-p256", depth=3)
    files = issued.write(tmp_path)
    container = tmp_path / "host.p12"
    inputs = ["-in", files.certificate, "-inkey", files.private_key, "-certfile"]
    openssl(
        "pkcs12", "-export", "-out", container, "-passout", f"pass:{password}", *algorithms,
        *map(str, inputs), str(files.intermediates),
    )  # fmt: skip
    (tmp_path / "password").write_text(password + "\n")
    options = options_of(certificate=str(container))
    if password:
        options = options._replace(key_password_file=str(tmp_path / "password"))
    identity = load_identity(options)
    verify(identity)
    assert [each.der for each in identity.chain] == [
        each.public_bytes(serialization.Encoding.DER) for each in issued.chain
    ]
    with pytest.raises(IdentityError, match="no PKCS#12 container that the password opens"):
        load_identity(options._replace(pkcs8_password=Secret("wrong")))


def test_password_without_a_terminal(folder: Path, tmp_path: Path) -> None:
    """Where nobody can be asked, the remedy names the file and the variable."""
    key = tmp_path / "host.key"
    openssl("pkcs8", "-topk8", "-passout", "pass:x", "-in", folder / "ec-p256.key", "-out", key)
    program = (
        "import os, sys; os.setsid()\n"
        "from credproc.options import SessionOptions\n"
        "from credproc.identity.load import load_identity\n"
        "options = SessionOptions('', '', '', certificate=sys.argv[1], private_key=sys.argv[2])\n"
        "try: load_identity(options)\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "ec-p256.pem"), str(key)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "--key-password-file" in done.stdout
    assert "CREDPROC_PKCS8_PASSWORD" in done.stdout


@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p521", "ml-dsa-65"])
def test_certificates_as_cryptography_reads_them(pki: Pki, kind: KeyType) -> None:
    """Our own reading of a certificate agrees with cryptography's on every field."""
    theirs = pki.issue(kind, serial=2**159 - 1).certificate
    ours = parse(theirs.public_bytes(serialization.Encoding.DER))
    assert ours.serial == theirs.serial_number
    assert ours.version == 3
    assert ours.not_before == theirs.not_valid_before_utc.timestamp()
    assert ours.not_after == theirs.not_valid_after_utc.timestamp()
    assert ours.subject == theirs.subject.public_bytes()
    assert ours.issuer == theirs.issuer.public_bytes()
    assert ours.signature_algorithm == theirs.signature_algorithm_oid.dotted_string
    assert ours.is_ca is False
    assert ours.key_usage is not None
    assert ours.key_usage & 0x80


@pytest.mark.parametrize("year", [1951, 1970, 1999, 2000, 2024, 2049, 2050, 2100, 9999])
def test_times(year: int) -> None:
    """UTCTime and GeneralizedTime are read to the second, whatever the century."""
    moment = datetime(year, 2, 28, 23, 59, 58, tzinfo=UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
        .public_key(key.public_key()).not_valid_before(moment)
        .not_valid_after(moment + timedelta(hours=3)).sign(key, hashes.SHA256())
    )  # fmt: skip
    ours = parse(built.public_bytes(serialization.Encoding.DER))
    assert ours.not_before == moment.timestamp()
    assert ours.not_after == moment.timestamp() + 10800
    assert ours.is_ca is None


@given(st.binary(max_size=200))
def test_noise_is_no_certificate(data: bytes) -> None:
    """Whatever the bytes are, reading them ends in an answer or in one kind of error."""
    with contextlib.suppress(der.DerError, IndexError):
        parse(data)


@given(st.data())
def test_damaged_certificates(data: st.DataObject) -> None:
    """A certificate with one byte changed is read or refused, and never crashes the reader."""
    content = bytearray(DAMAGED)
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(IdentityError):
        read_certificates(bytes(content), "host.pem")


DAMAGED = Pki().issue().certificate.public_bytes(serialization.Encoding.DER)


def test_chain_is_put_in_order(pki: Pki) -> None:
    """Intermediates in any order become the way up; strangers and the root are left out."""
    issued = pki.issue("ec-p256", depth=4)
    ders = [each.public_bytes(serialization.Encoding.DER) for each in issued.chain]
    leaf = parse(issued.certificate.public_bytes(serialization.Encoding.DER))
    stranger = parse(Pki(common_name="stranger").root.public_bytes(serialization.Encoding.DER))
    root = parse(pki.root.public_bytes(serialization.Encoding.DER))
    mixed = [root, *map(parse, reversed(ders)), stranger, leaf]
    chain = order_chain(leaf, mixed)
    assert [each.der for each in chain] == ders
    assert end_entity(mixed) == leaf
    check_chain(chain)


@pytest.mark.parametrize("reverse", [False, True])
def test_chain_with_several_of_one_name(pki: Pki, reverse: bool) -> None:  # noqa: FBT001
    """Of authorities of one name the one that has signed and is valid is taken, in any order.

    One has expired since it was renewed, the other had another key before.
    """
    leaf = pki.issue("ec-p256", depth=2)
    intermediate, key = pki._intermediates(1)[0]
    name = intermediate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    now = datetime.now(UTC)
    expired = pki.issue(
        own_key=key,
        common_name=str(name),
        ca=True,
        not_before=now - timedelta(days=9),
        not_after=now - timedelta(days=1),
    )
    rekeyed = pki.issue("ec-p256", common_name=str(name), ca=True)
    others = [expired.certificate, rekeyed.certificate, intermediate]
    found = [parse(one.public_bytes(serialization.Encoding.DER)) for one in others]
    ordered = list(reversed(found)) if reverse else found
    own = parse(leaf.certificate.public_bytes(serialization.Encoding.DER))
    chain = order_chain(own, ordered)
    assert [each.der for each in chain] == [found[-1].der]
    check_chain(chain)


def test_chain_in_the_certificate_file(pki: Pki, tmp_path: Path) -> None:
    """A file that holds certificate and chain, in the wrong order, is enough."""
    issued = pki.issue("ec-p256", depth=3)
    encoding = serialization.Encoding.PEM
    pems = [each.public_bytes(encoding) for each in (*issued.chain, issued.certificate)]
    (tmp_path / "all.pem").write_bytes(b"some text\n" + b"\n".join(pems) + issued.key_pem())
    identity = load_identity(options_of(certificate=str(tmp_path / "all.pem")))
    verify(identity)
    assert len(identity.chain) == len(issued.chain)


def test_names_and_selectors(pki: Pki) -> None:
    """Names are written as RFC 2253 has it, and a selector compares them so."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'A, "B" + <C>'),
            x509.NameAttribute(NameOID.COMMON_NAME, " x "),
        ]
    )
    assert rfc2253(name.public_bytes()) == 'CN=\\ x\\ ,O=A\\, \\"B\\" \\+ \\<C\\>,C=DE'
    certificate = parse(DAMAGED)
    subject = rfc2253(certificate.subject)
    fits = f"Key=x509Subject,Value={subject} Key=x509Serial,Value={certificate.serial:X}"
    assert matching(parse_selector(fits), [certificate]) == [certificate]
    assert matching(parse_selector("Key=x509Subject,Value=CN=other"), [certificate]) == []
