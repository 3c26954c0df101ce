"""PEM blocks (RFC 7468), found in files that hold other things besides."""

from __future__ import annotations

import binascii

from credproc.light import NamedTuple


class Block(NamedTuple):
    """One block: its label, its bytes, and its own text."""

    label: str
    der: bytes
    text: bytes
    headers: bool = False
    """Whether it has RFC 1421 headers, as keys encrypted by old OpenSSL do."""


class PemError(ValueError):
    """A block begins and does not end, or is not base64."""


def blocks(content: bytes) -> list[Block]:
    """Return all blocks of a file; none if it is not PEM.

    Raises:
        PemError: A block is damaged.
    """
    found = []
    position = 0
    while (begin := content.find(b"-----BEGIN ", position)) >= 0:
        label_end = content.find(b"-----", begin + 11)
        label = content[begin + 11 : label_end]
        closing = b"-----END " + label + b"-----"
        end = content.find(closing, label_end) if label_end >= 0 else -1
        if end < 0 or b"\n" in label:
            raise PemError("a block that begins does not end")
        position = end + len(closing)
        body = content[label_end + 5 : end]
        headers = b":" in body
        found.append(
            Block(
                label.decode("ascii", "replace"),
                b"" if headers else _decode(body),
                content[begin:position] + b"\n",
                headers,
            )
        )
    return found


def _decode(body: bytes) -> bytes:
    try:
        return binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except binascii.Error:
        raise PemError("a block is not base64") from None
