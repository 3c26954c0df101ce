"""As much of HTTP/1.1 as one POST needs (RFC 9112); `http.client` takes 40 ms to import."""

from __future__ import annotations

from credproc.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LARGEST = 256 * 1024
CHUNK = 16 * 1024
LONGEST_LENGTH = 100
"""Digits of a length: Python reads no numbers of thousands of them."""


class HttpError(ValueError):
    """What came is not a whole HTTP answer."""


class Response(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    """By lower-case name; of several with one name, the last."""
    body: bytes


def request_bytes(target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a POST request that asks for the connection to be closed after the answer."""
    lines = [f"POST {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def read_response(receive: Callable[[int], bytes], *, has_body: bool = True) -> Response:
    """Read one answer.

    Args:
        receive: Returns up to so many bytes, none at the end; raises if they take too long.
        has_body: False for the answer to CONNECT.

    Raises:
        HttpError: It is not HTTP, too large, or ends too early.
    """
    head, rest = _read_head(receive)
    status, headers = _parse_head(head)
    while 100 <= status < 200:
        head, rest = _read_head(receive, rest)
        status, headers = _parse_head(head)
    if not has_body:
        return Response(status, headers, b"")
    return Response(status, headers, _read_body(receive, rest, headers))


def _read_head(receive: Callable[[int], bytes], data: bytes = b"") -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in data:
        piece = receive(CHUNK)
        if not piece:
            raise HttpError("the answer ends in its head" if data else "there is no answer")
        data += piece
        if not data.startswith(b"HTTP/"[: len(data)]):
            raise HttpError("the answer is not HTTP")
        if len(data) > LARGEST:
            raise HttpError("the answer's head is too large")
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not (words[1].isdigit() and len(words[1]) == 3):
        raise HttpError("the answer is not HTTP")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(words[1]), headers


def _read_body(receive: Callable[[int], bytes], data: bytes, headers: Mapping[str, str]) -> bytes:
    reader = _Reader(receive, data)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _read_chunks(reader)
    length = headers.get("content-length")
    if length is None:
        return reader.read_to_end()
    if not (length.isascii() and length.isdigit()):
        raise HttpError("the answer's length is no number")
    if len(length) > LONGEST_LENGTH:
        raise HttpError("the answer is too large")
    return reader.read(int(length))


def _read_chunks(reader: _Reader) -> bytes:
    body = b""
    while True:
        size_text = reader.read_line().partition(b";")[0].strip()
        try:
            size = int(size_text, 16)
        except ValueError:
            raise HttpError("a chunk's size is no number") from None
        if size < 0 or len(body) + size > LARGEST:
            raise HttpError("the answer is too large")
        if size == 0:
            return body
        body += reader.read(size)
        reader.read_line()


class _Reader:
    def __init__(self, receive: Callable[[int], bytes], data: bytes) -> None:
        self._receive = receive
        self._data = data

    def _more(self) -> bool:
        piece = self._receive(CHUNK)
        self._data += piece
        if len(self._data) > LARGEST:
            raise HttpError("the answer is too large")
        return bool(piece)

    def read(self, size: int) -> bytes:
        if size > LARGEST:
            raise HttpError("the answer is too large")
        while len(self._data) < size:
            if not self._more():
                raise HttpError(f"the answer ends after {len(self._data)} of {size} bytes")
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def read_line(self) -> bytes:
        while b"\r\n" not in self._data:
            if not self._more():
                raise HttpError("the answer ends in a chunk")
        line, _, self._data = self._data.partition(b"\r\n")
        return line

    def read_to_end(self) -> bytes:
        while self._more():
            pass
        return self._data
