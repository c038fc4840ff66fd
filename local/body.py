"""Read a request's body as RFC 9112 frames it, within a bound, from any binary stream."""

from collections.abc import Callable, Iterable
from typing import Protocol

_LINE_BYTES = 4096
_TRAILER_LINES = 100


class Readable(Protocol):
    """The part of a binary stream that a body is read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, fewer only at the end."""
        ...

    def readline(self, limit: int, /) -> bytes:
        """Return one line with its end, at most `limit` bytes."""
        ...


class BodyRefused(Exception):
    """The body cannot be read; `status` says why. Do not trust the rest of the connection."""

    def __init__(self, status: int) -> None:
        super().__init__(f"refused with {status}")
        self.status = status


def wants_continue(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether the client waits for `100 Continue` before it sends the body."""
    return any(name.lower() == "expect" and value.lower() == "100-continue" for name, value in headers)


def read_body(
    stream: Readable,
    headers: Iterable[tuple[str, str]],
    max_bytes: int,
    go_ahead: Callable[[], None] = lambda: None,
) -> bytes:
    """Return the whole body; no Content-Length and no Transfer-Encoding means none.

    Call `go_ahead` when the framing is accepted, before reading the first byte. Raises BodyRefused: 400 for
    framing that is wrong or contradicts itself (behind a tunnel that is how requests are smuggled) and for a
    body that ends early, 408 for one that does not arrive, 413 for one over `max_bytes`.
    """
    pairs = [(name.lower(), value.strip()) for name, value in headers]
    lengths = {value for name, value in pairs if name == "content-length"}
    codings = [value.lower() for name, value in pairs if name == "transfer-encoding"]
    if codings and (lengths or codings != ["chunked"]):
        raise BodyRefused(400)
    length = _length(lengths)
    if length > max_bytes:
        raise BodyRefused(413)
    go_ahead()
    try:
        return _chunked(stream, max_bytes) if codings else _exactly(stream, length)
    except TimeoutError:
        raise BodyRefused(408) from None


def _length(values: set[str]) -> int:
    if not values:
        return 0
    if len(values) > 1:
        raise BodyRefused(400)
    text = values.pop()
    # str.isdigit and int() accept signs, underscores and digits of other scripts; a length has none of them.
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise BodyRefused(400)
    return int(text)


def _exactly(stream: Readable, size: int) -> bytes:
    body = stream.read(size) if size else b""
    if len(body) != size:
        raise BodyRefused(400)
    return body


def _chunked(stream: Readable, max_bytes: int) -> bytes:
    body = bytearray()
    while size := _chunk_size(_line(stream)):
        if len(body) + size > max_bytes:
            raise BodyRefused(413)
        body += _exactly(stream, size)
        if _line(stream):
            raise BodyRefused(400)
    for _ in range(_TRAILER_LINES):
        if not _line(stream):
            return bytes(body)
    raise BodyRefused(400)


def _chunk_size(line: bytes) -> int:
    digits = line.split(b";", 1)[0].strip()
    if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
        raise BodyRefused(400)
    return int(digits, 16)


def _line(stream: Readable) -> bytes:
    line = stream.readline(_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise BodyRefused(400)
    return line.rstrip(b"\r\n")
