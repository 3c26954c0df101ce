"""The one session with each PKCS#11 token that this process is logged in to.

A login counts for the process: a second one is refused, and ending one ends it for every session
with the token. So threads share one session, which lasts as long as the process, and whoever opens
identities again and again (`serve`, `update`, a worker) logs in once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

from credproc.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from credproc.secret import Secret


class Login(NamedTuple):
    """A session with a token that is logged in.

    Attributes:
        token: The token.
        serial: Its serial number; another may be in its slot by now.
        session: The session.
        pin: What it was opened with.
    """

    token: Any
    serial: Any
    session: Any
    pin: Secret


class _Process:
    """What counts for this process, and for no other that it forks."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.logins: list[Login] = []
        self.modules: list[Any] = []
        self.inherited: list[Any] = []

    def forget(self) -> None:
        """Begin anew in a child: sessions and modules are the parent's (PKCS#11 2.40, 5.4)."""
        self.inherited += self.modules
        self.lock, self.logins, self.modules = threading.RLock(), [], []


_process = _Process()
os.register_at_fork(after_in_child=_process.forget)


def at_a_time() -> contextlib.AbstractContextManager[object]:
    """Return what keeps other threads from every module.

    python-pkcs11 initializes them as those that one thread uses.
    """
    return _process.lock


def usable(module: Any) -> Any:
    """Return a loaded module, initialized for this process; called one at a time.

    Raises:
        PKCS11Error: It cannot be.
    """
    import pkcs11

    if module in _process.inherited:
        try:
            module.reinitialize()
        except pkcs11.PKCS11Error:  # it has noticed the fork, and is not initialized already
            if not hasattr(module, "initialize"):  # before python-pkcs11 0.9
                raise
            module.initialize()
        _process.inherited.remove(module)
    if module not in _process.modules:
        _process.modules.append(module)
    return module


def search(
    token: Any, pin: Callable[[], Secret], work: Callable[[Any], list[Any]]
) -> tuple[list[Any], Secret]:
    """Return what `work` finds in a session that is logged in to a token, and the token's PIN.

    Called one at a time.

    Args:
        token: The token.
        pin: Gives its PIN; called only if this process is not logged in to it.
        work: Searches in a session.

    Raises:
        PKCS11Error: The token refuses, or is not there.
    """
    import pkcs11

    login = _login(token)
    if login is not None:
        try:
            found = work(login.session)
            if found or _shows_keys(login.session):
                return found, login.pin
        except pkcs11.PKCS11Error:  # say, the token was out and is in again
            pass
        # Somebody else, such as the program itself, may have logged this process out.
        _process.logins.remove(login)
        with contextlib.suppress(pkcs11.PKCS11Error):
            login.session.close()
    known = login.pin if login is not None else pin()
    session = _open(token, known)
    _process.logins.append(Login(token, token.serial, session, known))
    return work(session), known


def _login(token: Any) -> Login | None:
    for login in _process.logins:
        if login.token == token and login.serial == token.serial:
            return login
    return None


def _open(token: Any, pin: Secret) -> Any:
    import pkcs11

    try:
        return token.open(user_pin=pin.reveal())
    except pkcs11.UserAlreadyLoggedIn:  # by the program that we are part of
        return token.open()


def _shows_keys(session: Any) -> bool:
    """Return whether private keys can be seen, as they can as long as the login lasts."""
    import pkcs11

    wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
    return bool(list(session.get_objects(wanted)))
