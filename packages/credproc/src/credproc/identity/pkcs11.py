"""Identities on PKCS#11 tokens: smart cards, HSMs, YubiKeys, SoftHSM.

The URIs of RFC 7512 say which certificate and which key. Where only the certificate is named, its
key is the one with the same id, else with the same label, as other programs do it too; where only
the key is, the certificate lies in a file. Authorities on the token complete the chain.
"""

from __future__ import annotations

from typing import Any

from credproc.errors import IdentityError, UsageError
from credproc.files import read_file
from credproc.identity import der
from credproc.identity.certificate import Certificate
from credproc.identity.certificate import parse as parse_certificate
from credproc.identity.certificates import end_entity, order_chain, read_certificates
from credproc.identity.keys import load_key
from credproc.identity.passwords import Passwords
from credproc.identity.pkcs11_key import Pkcs11Key, refusal
from credproc.identity.pkcs11_session import at_a_time, search
from credproc.identity.pkcs11_token import pin_of, text_of, tokens_of
from credproc.identity.pkcs11_uri import SCHEME, Pkcs11Uri, parse
from credproc.identity.signer import Identity, Signer
from credproc.light import TYPE_CHECKING
from credproc.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from credproc.options import SessionOptions


def load_pkcs11_identity(options: SessionOptions) -> Identity:
    """Return the identity whose certificate, key or both are on a token.

    Raises:
        IdentityError: It is not there, the PIN is wrong, or the module does not work.
        UsageError: A URI cannot be read, or something is not named that must be.
    """
    with at_a_time():
        return _load(options)


def _load(options: SessionOptions) -> Identity:
    certificate_uri = _uri(options.certificate)
    key_uri = _uri(options.private_key)
    passwords = Passwords(options)
    found: _Found | None = None
    if certificate_uri is not None:
        found = _find_certificate(options, certificate_uri, passwords)
        certificate, others = found.certificate, found.others
    else:
        certificate, others = _certificate_file(options)
    others += _intermediates(options)
    signer: Signer
    if options.private_key is not None and key_uri is None:
        content = read_file(options.private_key, "private key")
        signer = load_key(content, options.private_key, passwords)
    else:
        # A certificate's URI names its key too, but for the type.
        wanted = key_uri or _without_type(certificate_uri)
        signer = _find_key(options, wanted, certificate, found, passwords)
    return Identity(certificate, order_chain(certificate, others), signer)


class _Found:
    """A certificate on a token, and where it was found.

    Attributes:
        certificate: The certificate.
        others: The token's other certificates.
        id: Its id on the token.
        label: Its label there.
        token: The token.
    """

    def __init__(self, certificate: Certificate, id: bytes, label: str, token: Any) -> None:  # noqa: A002
        self.certificate = certificate
        self.others: list[Certificate] = []
        self.id = id
        self.label = label
        self.token = token


def _uri(name: str | None) -> Pkcs11Uri | None:
    return parse(name) if name is not None and name.startswith(SCHEME) else None


def _without_type(uri: Pkcs11Uri | None) -> Pkcs11Uri:
    return (uri or Pkcs11Uri())._replace(type=None)


def _certificate_file(options: SessionOptions) -> tuple[Certificate, list[Certificate]]:
    path = options.certificate
    if path is None:
        raise UsageError(
            "--certificate not given", remedy="name its file, or its pkcs11: URI on the token"
        )
    found = read_certificates(read_file(path, "certificate"), path)
    if not found:
        raise IdentityError(f"the file {path} holds no certificate")
    leaf = end_entity(found)
    return leaf, [one for one in found if one is not leaf]


def _intermediates(options: SessionOptions) -> list[Certificate]:
    path = options.intermediates
    if path is None:
        return []
    return read_certificates(read_file(path, "file of intermediates"), path, "intermediates")


def _find_certificate(options: SessionOptions, uri: Pkcs11Uri, passwords: Passwords) -> _Found:
    """Return the certificate that a URI names.

    Every matching token is looked at without a login; only if that finds nothing and one token
    alone is meant is it logged in to, since a PIN belongs to one token and wrong tries lock it.
    """
    import pkcs11  # there: `tokens_of` looked

    tokens = tokens_of(options.pkcs11_lib, uri)
    try:
        found = [one for token in tokens for one in _certificates(token, uri)]
        if not found and len(tokens) == 1:
            found, _ = search(
                tokens[0],
                lambda: pin_of(uri, passwords, tokens[0]),
                lambda session: list(_certificates_in(session, uri, tokens[0])),
            )
    except pkcs11.PKCS11Error as error:
        raise refusal(error, "the token does not show its certificates") from None
    chosen = _choose(found)
    chosen.others = [one.certificate for one in found if one is not chosen]
    if uri.names_object:
        chosen.others += [one.certificate for one in _certificates(chosen.token, Pkcs11Uri())]
    return chosen


def _choose(found: list[_Found]) -> _Found:
    """Return the one certificate that can be meant: authorities beside it are its chain."""
    own = [one for one in found if not one.certificate.is_ca] or found
    distinct = {one.certificate.der for one in own}
    if not found:
        raise IdentityError(
            "there is no certificate on a PKCS#11 token that the URI describes",
            remedy="see `p11tool --list-all-certs 'pkcs11:token=...'`",
        )
    if len(distinct) > 1:
        raise IdentityError(
            f"the PKCS#11 URI describes {len(distinct)} certificates",
            remedy="add ;id=... or ;object=... to it",
        )
    return own[0]


def _certificates(token: Any, uri: Pkcs11Uri) -> list[_Found]:
    """Return what a token shows without a login."""
    with token.open() as session:
        return list(_certificates_in(session, uri, token))


def _certificates_in(session: Any, uri: Pkcs11Uri, token: Any) -> Iterator[_Found]:
    import pkcs11

    wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE, **_template(uri)}
    for item in session.get_objects(wanted):
        try:
            certificate = parse_certificate(bytes(item[pkcs11.Attribute.VALUE]))
        except (der.DerError, IndexError, ValueError):
            continue  # not X.509, or not ours to understand
        identifier = _attribute(item, pkcs11.Attribute.ID) or b""
        label = text_of(_attribute(item, pkcs11.Attribute.LABEL) or "")
        yield _Found(certificate, bytes(identifier), label, token)


def _template(uri: Pkcs11Uri) -> dict[Any, Any]:
    import pkcs11

    template: dict[Any, Any] = {}
    if uri.object is not None:
        template[pkcs11.Attribute.LABEL] = uri.object
    if uri.id is not None:
        template[pkcs11.Attribute.ID] = uri.id
    return template


def _attribute(item: Any, name: Any) -> Any:
    import pkcs11

    try:
        return item[name]
    except pkcs11.PKCS11Error:
        return None


def _find_key(
    options: SessionOptions,
    uri: Pkcs11Uri,
    certificate: Certificate,
    found: _Found | None,
    passwords: Passwords,
) -> Pkcs11Key:
    """Return the private key that a URI names, or that goes with the certificate."""
    import pkcs11  # `tokens_of` says what to do where it is missing

    tokens = tokens_of(options.pkcs11_lib, uri)
    if found is not None and found.token in tokens:
        tokens = [found.token]
    if len(tokens) > 1:
        raise IdentityError(
            f"the PKCS#11 URI of the key describes {len(tokens)} tokens, and a PIN is for one",
            remedy="add ;token=... or ;serial=... to it",
        )
    try:
        keys, pin = search(
            tokens[0],
            lambda: pin_of(uri, passwords, tokens[0]),
            lambda session: _keys(session, uri, certificate, found),
        )
    except pkcs11.PKCS11Error as error:
        raise refusal(error, "the token does not give access to its keys") from None
    if len(keys) != 1:
        raise IdentityError(
            f"the PKCS#11 URI describes {len(keys)} private keys"
            if keys
            else "there is no private key on the token that the URI describes",
            remedy="name one with --private-key 'pkcs11:token=...;id=...'",
        )
    own_pin = _own_pin(options, pin, passwords, tokens[0])
    return Pkcs11Key(keys[0], certificate.public_key, own_pin)


def _keys(
    session: Any, uri: Pkcs11Uri, certificate: Certificate, found: _Found | None
) -> list[Any]:
    """Return the private keys that can be meant, narrowed down as far as the token can tell."""
    import pkcs11

    searches = [_template(uri)]
    if found is not None:
        own = [
            {name: value}
            for name, value in (
                (pkcs11.Attribute.ID, found.id),
                (pkcs11.Attribute.LABEL, found.label),
            )
            if value
        ]
        # Without an object of its own the URI may mean many: the certificate's id comes first.
        searches = [*searches, *own] if uri.names_object else [*own, *searches]
    for attributes in searches:
        wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, **attributes}
        keys = list(session.get_objects(wanted))
        if len(keys) > 1:
            keys = [key for key in keys if _goes_with(session, key, certificate)] or keys
        if keys:
            return keys
    return []


def _goes_with(session: Any, key: Any, certificate: Certificate) -> bool:
    """Return whether the token shows that a private key is the certificate's."""
    import pkcs11

    modulus = _attribute(key, pkcs11.Attribute.MODULUS)
    if modulus:
        return bytes(modulus) in certificate.public_key
    public = {
        pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY,
        pkcs11.Attribute.ID: _attribute(key, pkcs11.Attribute.ID) or b"",
    }
    for item in session.get_objects(public):
        point = bytes(_attribute(item, pkcs11.Attribute.EC_POINT) or b"")
        # It comes wrapped in an OCTET STRING; its end is that of the certificate's key.
        if point and certificate.public_key.endswith(point[-64:]):
            return True
    return False


def _own_pin(
    options: SessionOptions, pin: Secret, passwords: Passwords, token: Any
) -> Callable[[], Secret]:
    """Return what gives the PIN for a key that asks at each signature."""
    if options.reuse_pin:
        return lambda: pin
    return lambda: passwords.ask(f"the key on the PKCS#11 token {token.label!r}")
