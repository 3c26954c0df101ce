"""The way in for programs: cache, then single flight, then a backend."""

from __future__ import annotations

from credproc.credentials import SessionCredentials
from credproc.options import SessionOptions


def obtain(options: SessionOptions, *, renew: bool = False) -> SessionCredentials:
    """Return credentials of the session that `options` describe.

    Args:
        options: What decides the session.
        renew: Do not serve what is cached; what comes is cached all the same.

    Raises:
        CredprocError: There are none to be had.
    """
    from credproc.create_session import create_session  # noqa: PLC0415

    return create_session(options)
