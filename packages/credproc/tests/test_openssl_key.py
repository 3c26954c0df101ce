"""The short way to a signature does what cryptography does, or leaves it to cryptography."""

from __future__ import annotations

import _ctypes
import _hashlib
import _struct
import gc
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn, get_args

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from credproc.errors import IdentityError
from credproc.identity import der, libcrypto, openssl_key
from credproc.identity.load import load_identity, load_signer
from credproc.identity.openssl_key import OpensslKey, load_openssl_key
from credproc.identity.pem import blocks
from credproc.identity.plain_key import find_plain_key
from credproc.identity.signer import Signer
from credproc.identity.software_key import SoftwareKey
from credproc.options import SessionOptions
from mqauth_sandbox.pki import Container, KeyType, Pki, can_make, new_key

CLASSIC: tuple[KeyType, ...] = ("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521")
OTHERS: tuple[KeyType, ...] = tuple(kind for kind in get_args(KeyType) if kind not in CLASSIC)
FORMS = {"pkcs8": PrivateFormat.PKCS8, "traditional": PrivateFormat.TraditionalOpenSSL}
OPENSSL = shutil.which("openssl") or "/usr/bin/openssl"
MESSAGE = b"AWS4-X509-RSA-SHA256\nwhat is signed"


class LongWayTakenError(Exception):
    """The short way has handed over."""


def long_way() -> NoReturn:
    """Say that the short way has handed over."""
    raise LongWayTakenError


def openssl(*arguments: str | Path, text: bytes = b"") -> bytes:
    """Run OpenSSL."""
    return subprocess.run(
        [OPENSSL, *map(str, arguments)], input=text, check=True, capture_output=True, timeout=60
    ).stdout


def plain(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, form: PrivateFormat) -> bytes:
    """Return a key's PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def check(signer: Signer, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    """Compare a signer with cryptography's key."""
    public = key.public_key()
    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert signer.public_key() == encoded
    assert signer.key_algorithm == SoftwareKey(key).key_algorithm
    for digest in ("SHA256", "SHA384", "SHA512"):
        signature = signer.sign(MESSAGE, digest)
        algorithm = getattr(hashes, digest)()
        if isinstance(public, rsa.RSAPublicKey):
            assert signature == SoftwareKey(key).sign(MESSAGE, digest)
            public.verify(signature, MESSAGE, padding.PKCS1v15(), algorithm)
        else:
            public.verify(signature, MESSAGE, ec.ECDSA(algorithm))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CLASSIC)
def test_agrees_with_cryptography(kind: KeyType, form: str) -> None:
    """Plain keys sign alike, from PEM and DER, and have the same public half."""
    key = new_key(kind)
    text = plain(key, FORMS[form])
    for content in (text, b"a comment\n" + text, blocks(text)[0].der):
        signer = load_openssl_key(content, long_way)
        assert isinstance(signer, OpensslKey)
        check(signer, key)


def test_forms_of_openssl(tmp_path: Path) -> None:
    """What the openssl command writes is read: with parameters in front, and in every encoding."""
    made = openssl("ecparam", "-name", "secp384r1", "-genkey")
    assert b"EC PARAMETERS" in made
    forms = [made]
    for name in ("EC:ec_paramgen_curve:P-256", "RSA:rsa_keygen_bits:2048"):
        algorithm, option = name.split(":", 1)
        key = tmp_path / algorithm
        openssl("genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", key)
        forms += [key.read_bytes(), openssl("pkey", "-in", key, "-outform", "DER")]
        forms.append(openssl("pkey", "-in", key, "-traditional"))
        forms.append(openssl("pkey", "-in", key, "-traditional", "-outform", "DER"))
    for content in forms:
        signer = load_openssl_key(content, long_way)
        assert signer is not None
        by_cryptography = load_slowly(content, tmp_path)
        assert isinstance(by_cryptography, SoftwareKey)
        assert signer.public_key() == by_cryptography.public_key()
        signer.sign(MESSAGE)


def load_slowly(content: bytes, folder: Path) -> Signer:
    """Load a key with the short way closed."""
    path = folder / "host.key"
    path.write_bytes(content)
    options = SessionOptions("role", "profile", "anchor", private_key=str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("credproc.identity.load.load_openssl_key", lambda *_: None)
        return load_signer(options)


def odd_keys() -> dict[str, bytes]:
    """Return keys that are not plain, by what is odd about them."""
    key = new_key("ec-p256")
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
    koblitz = ec.generate_private_key(ec.SECP256K1())
    edwards = ed25519.Ed25519PrivateKey.generate()
    sec1 = blocks(plain(key, PrivateFormat.TraditionalOpenSSL))[0].der
    parts = der.sequence(sec1)
    without_point = b"".join(part.encoding for part in parts[:3])
    text = plain(key, PrivateFormat.PKCS8)
    compressed = openssl("ec", "-conv_form", "compressed", text=text)
    explicit = openssl("ec", "-param_enc", "explicit", text=text)
    return {
        "rsa-1024": plain(small, PrivateFormat.PKCS8),
        "secp256k1": plain(koblitz, PrivateFormat.PKCS8),
        "ed25519": edwards.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "rsa-pss": openssl("genpkey", "-algorithm", "RSA-PSS"),
        "no-point": der.encode(der.SEQUENCE, without_point),
        "compressed": compressed,
        "explicit": explicit,
        "something-follows": blocks(text)[0].der + b"\x05\x00",
        "cut-off": blocks(text)[0].der[:-1],
        "no-key": Pki().root.public_bytes(Encoding.PEM),
        "old-encryption": openssl("ec", "-aes256", "-passout", "pass:x", text=text),
        "tpm": text.replace(b"PRIVATE KEY", b"TSS2 PRIVATE KEY"),
        "damaged": text.replace(b"M", b"-"),
        "empty": b"",
    }


ODD = odd_keys()


@pytest.mark.parametrize("name", ODD)
def test_odd_keys_are_handed_over(name: str) -> None:
    """What is not plain in every respect takes the long way."""
    assert load_openssl_key(ODD[name], long_way) is None


@pytest.mark.parametrize("container", ["pkcs8", "encrypted-pkcs8"])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_types_are_handed_over(kind: KeyType, container: Container, tmp_path: Path) -> None:
    """ML-DSA keys take the long way."""
    if not can_make(kind):
        pytest.skip("this release of cryptography has no ML-DSA")
    files = Pki().issue(kind).write(tmp_path, container)
    assert files.private_key is not None
    assert load_openssl_key(files.private_key.read_bytes(), long_way) is None


@pytest.mark.parametrize("container", ["encrypted-pkcs8", "pkcs12", "pkcs12-openssl"])
@pytest.mark.parametrize("kind", ["rsa-2048", "ec-p256"])
def test_encrypted_keys_are_handed_over(
    kind: KeyType, container: Container, tmp_path: Path
) -> None:
    """What needs a password takes the long way."""
    files = Pki().issue(kind).write(tmp_path, container)
    content = (files.private_key or files.certificate).read_bytes()
    assert load_openssl_key(content, long_way) is None


def test_the_first_key_counts() -> None:
    """Of several keys in a file the first is used, as on the long way; encrypted, it is not."""
    one, other = new_key("ec-p256"), new_key("ec-p384")
    both = plain(one, PrivateFormat.PKCS8) + plain(other, PrivateFormat.PKCS8)
    signer = load_openssl_key(both, long_way)
    assert signer is not None
    check(signer, one)
    encrypted = openssl("pkcs8", "-topk8", "-passout", "pass:x", text=both)
    assert load_openssl_key(encrypted + both, long_way) is None


@pytest.mark.parametrize("form", FORMS)
def test_halves_that_do_not_belong_together(form: str, tmp_path: Path) -> None:
    """A key that names another one's public half signs nothing, and the long way says why."""
    one, other = new_key("ec-p256"), new_key("ec-p256")
    point = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    own = one.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    mixed = blocks(plain(one, FORMS[form]))[0].der.replace(own, point)
    signer = load_openssl_key(mixed, long_way)
    assert signer is not None
    assert signer.public_key() == SoftwareKey(other).public_key()
    with pytest.raises(LongWayTakenError):
        signer.sign(MESSAGE)
    path = tmp_path / "mixed.key"
    path.write_bytes(mixed)
    loaded = load_signer(SessionOptions("role", "profile", "anchor", private_key=str(path)))
    with pytest.raises(IdentityError, match="cannot be understood"):
        loaded.sign(MESSAGE)


def test_spoilt_rsa_keys() -> None:
    """A wrong private exponent gives no wrong signature away."""
    numbers = new_key("rsa-2048").private_numbers()
    values = [
        *(0, numbers.public_numbers.n, numbers.public_numbers.e, numbers.d - 2, numbers.p),
        *(numbers.q, numbers.dmp1 - 2, numbers.dmq1, numbers.iqmp),
    ]
    size = 257  # with a sign
    inside = b"".join(
        der.encode(der.INTEGER, value.to_bytes(size, "big").lstrip(b"\0").rjust(1, b"\0"))
        if value.bit_length() % 8
        else der.encode(der.INTEGER, b"\0" + value.to_bytes(size, "big").lstrip(b"\0"))
        for value in values
    )
    signer = load_openssl_key(der.encode(der.SEQUENCE, inside), long_way)
    assert signer is not None
    with pytest.raises(LongWayTakenError):
        signer.sign(MESSAGE)


def test_without_libcrypto(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where libcrypto is out of reach or lacks a function, cryptography signs the same."""
    files = Pki().issue("rsa-2048").write(tmp_path)
    options = SessionOptions(
        *("role", "profile", "anchor"),
        certificate=str(files.certificate),
        private_key=str(files.private_key),
    )
    quick = load_identity(options).signer
    assert isinstance(quick, OpensslKey)
    for broken in (_struct.__file__, "/nowhere/libcrypto.so", None):
        monkeypatch.setattr(libcrypto, "_found", [])
        monkeypatch.setattr(_hashlib, "__file__", broken)
        if broken is None:
            monkeypatch.delattr(_hashlib, "__file__")
        slow = load_identity(options).signer
        assert isinstance(slow, SoftwareKey)
        assert slow.public_key() == quick.public_key()
        assert slow.sign(MESSAGE) == quick.sign(MESSAGE)


def test_an_old_libcrypto(monkeypatch: pytest.MonkeyPatch) -> None:
    """A libcrypto older than the functions that are needed is not used."""
    monkeypatch.setattr(libcrypto, "OLDEST", libcrypto.library().version() + 1)
    with pytest.raises(libcrypto.LibcryptoError, match="too old"):
        libcrypto.Library(_hashlib.__file__)


def test_a_python_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python was built without ctypes, the long way is taken."""
    monkeypatch.setitem(sys.modules, "credproc.identity.libcrypto", None)
    content = plain(new_key("ec-p256"), PrivateFormat.PKCS8)
    assert openssl_key.load_openssl_key(content, long_way) is None


def test_no_error_is_left_behind() -> None:
    """A key that OpenSSL refuses leaves nothing in the queue of errors that TLS reads."""
    key = blocks(plain(new_key("ec-p256"), PrivateFormat.TraditionalOpenSSL))[0].der
    point = der.sequence(key)[-1].content[4:]
    off_the_curve = key.replace(point, bytes(len(point)))
    assert find_plain_key(off_the_curve) is not None
    assert load_openssl_key(off_the_curve, long_way) is None
    assert libcrypto.library()._find("ERR_peek_error", libcrypto._Size)() == 0


def test_nothing_leaks() -> None:
    """Loading and signing over and over takes no more memory than at first."""
    content = plain(new_key("ec-p256"), PrivateFormat.PKCS8)

    def use(times: int) -> int:
        for _ in range(times):
            signer = load_openssl_key(content, long_way)
            assert signer is not None
            signer.sign(MESSAGE)
        # Not what is mapped from files, which a host that is short of memory takes and brings back.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0])

    before = use(300)
    assert use(3000) - before < 1024, "KiB; each key has one at least"


def test_keys_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL wipes a key when nobody has it any more."""
    crypto = libcrypto.library()
    gc.collect()  # keys of earlier tests are not freed meanwhile
    freed: list[int] = []
    real = crypto.pkey_free

    def free(key: int) -> None:
        freed.append(key)
        real(key)

    monkeypatch.setattr(crypto, "pkey_free", free)
    signer = load_openssl_key(plain(new_key("ec-p256"), PrivateFormat.PKCS8), long_way)
    assert signer is not None
    address = signer._key._key
    del signer
    assert freed == [address]


def test_every_function_has_a_prototype() -> None:
    """No function of OpenSSL is called without its arguments' types."""
    functions = [one for one in vars(libcrypto.library()).values() if callable(one)]
    assert len(functions) > 10
    for function in functions:
        assert isinstance(function, _ctypes.CFuncPtr)
        assert function.argtypes is not None
        kind: Any = function.restype
        assert kind is None or issubclass(kind, _ctypes._SimpleCData)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_no_key(data: bytes) -> None:
    """Whatever the bytes are, they are handed over."""
    assert find_plain_key(data) is None
    assert load_openssl_key(data, long_way) is None


DAMAGED = {
    f"{kind}-{name}": blocks(plain(new_key(kind), form))[0].der
    for kind in ("rsa-2048", "ec-p256", "ec-p521")
    for name, form in FORMS.items()
}


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(DAMAGED)), st.data())
def test_damaged_keys(name: str, data: st.DataObject) -> None:
    """A key with changed, missing or added bytes signs well, or is handed over; nothing crashes."""
    content = bytearray(DAMAGED[name])
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content) - 1))
        taken = data.draw(st.integers(0, 2))
        content[position : position + taken] = data.draw(st.binary(max_size=2))
    signer = load_openssl_key(bytes(content), long_way)
    if signer is None:
        return
    try:
        signature = signer.sign(MESSAGE)
    except LongWayTakenError:
        return
    public = load_der_public_key(signer.public_key())
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(signature, MESSAGE, ec.ECDSA(hashes.SHA256()))


@given(st.integers(0, 255), st.binary(max_size=70_000))
@settings(deadline=None, max_examples=50)
def test_encoding_is_read_back(tag: int, content: bytes) -> None:
    """What is encoded is read back as it was."""
    tag = tag if tag & 0x1F != 0x1F else 0x30
    assert der.read(der.encode(tag, content))[:2] == (tag, content)
