"""Which texts are host names at all."""

from __future__ import annotations


def is_host_name(host: str) -> bool:
    """Return whether `host` can be looked up, which is not to say that it exists.

    Python's sockets encode a name like this and fail with an error that is no `OSError` where a
    label is empty or longer than 63 bytes (RFC 1035, section 2.3.4).
    """
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return "\0" not in host
