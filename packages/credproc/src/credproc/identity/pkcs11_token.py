"""PKCS#11 modules and tokens: loading the one, choosing the other, and the PIN that opens it."""

from __future__ import annotations

import os
from typing import Any

from credproc.errors import IdentityError, UsageError
from credproc.files import read_file
from credproc.identity.pkcs11_session import usable
from credproc.light import TYPE_CHECKING
from credproc.secret import Secret

if TYPE_CHECKING:
    from credproc.identity.passwords import Passwords
    from credproc.identity.pkcs11_uri import Pkcs11Uri

# The second is what the first is a link to, which distributions put in a package of its own.
DEFAULT_MODULES = ("p11-kit-proxy.so", "libp11-kit.so.0")
FILE = "file:"


def tokens_of(module: str | None, uri: Pkcs11Uri) -> list[Any]:
    """Return the tokens that a URI may mean, in the order of their slots.

    Args:
        module: Path of the PKCS#11 module, if the user named one.
        uri: What they have to be like.

    Raises:
        IdentityError: There is none, or the module cannot be loaded.
    """
    tokens = []
    for slot in _load(module, uri).get_slots(token_present=True):
        token = slot.get_token()
        described = uri.token_matches(
            token=token.label,
            manufacturer=token.manufacturer_id,
            serial=text_of(token.serial),
            model=token.model,
            slot_description=slot.slot_description,
            slot_manufacturer=slot.manufacturer_id,
        )
        if described and uri.slot_id in (None, slot.slot_id) and _is_initialized(token):
            tokens.append(token)
    if not tokens:
        raise IdentityError(
            "there is no PKCS#11 token that the URI describes",
            remedy="see `p11tool --list-tokens`, or name another module with --pkcs11-lib",
        )
    return tokens


def _load(module: str | None, uri: Pkcs11Uri) -> Any:
    try:
        import pkcs11  # an extra, and slow
    except ImportError:
        raise IdentityError(
            "keys on PKCS#11 tokens need the library python-pkcs11",
            remedy="install credproc[pkcs11], or use --backend helper",
        ) from None
    chosen = module or uri.module_path
    reason = ""
    for path in (chosen,) if chosen else DEFAULT_MODULES:
        try:
            return usable(pkcs11.lib(path))
        except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
            reason = reason or str(error) or type(error).__name__
    raise IdentityError(
        f"the PKCS#11 module {chosen or DEFAULT_MODULES[0]} cannot be loaded: {reason}",
        remedy="install it (p11-kit, opensc, ...) or name another with --pkcs11-lib",
    )


def _is_initialized(token: Any) -> bool:
    import pkcs11

    return bool(token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED)


def text_of(value: bytes | str) -> str:
    """Return what a token says of itself as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def pin_of(uri: Pkcs11Uri, passwords: Passwords, token: Any) -> Secret:
    """Return the PIN of a token: the URI's, its file's, the options', or what the user types.

    Raises:
        IdentityError: There is none to be had.
        UsageError: The URI wants a command to be run.
    """
    if uri.pin_value is not None:
        return uri.pin_value
    if uri.pin_source is not None:
        return _pin_from(uri.pin_source)
    return passwords.given() or passwords.ask(f"the PKCS#11 token {token.label!r}")


def _pin_from(source: str) -> Secret:
    if source.startswith("|"):
        raise UsageError(
            "pin-source names a command, and none is run for a PIN", remedy="name a file"
        )
    path = source.removeprefix(FILE)
    if path.startswith("//"):
        path = os.sep + path.removeprefix("//").partition("/")[2]
    try:
        text = read_file(path, "PIN file").decode()
    except UnicodeDecodeError:
        raise IdentityError(f"the PIN file {path} is not UTF-8 text") from None
    return Secret(text.rstrip("\r\n"))
