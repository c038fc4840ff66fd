"""Git's wire protocol version 2 over HTTP, the part that a fetch of one ref needs. Pure: bytes in, values out.

Both requests are one stateless POST to `git-upload-pack`. We send no capability that an old server could refuse, so
we save the advertisement (`info/refs`, a whole round trip): every v2 server has `ls-refs` and `fetch`.
Source: git's Documentation/gitprotocol-v2.txt and gitprotocol-pack.txt.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, BinaryIO

from handler.config.names import is_object_id
from handler.errors import CommitNotFound, Git2EfsError, RemoteRefused, RemoteUnavailable, RemoteUnsupported
from handler.exchange.remote import NO_SHALLOW_CHANGES, FetchQuery, RemoteRefs, ShallowChanges
from handler.model import Tip

Read = Callable[[int], bytes]
"""Called with a number of bytes; returns so many, or fewer at the end of the response."""

CONTENT_TYPES = ("application/x-git-upload-pack-result", "application/x-git-upload-pack-advertisement")
HEADERS = MappingProxyType(
    {
        # Some servers answer in another way unless the user agent starts with `git/`.
        "User-Agent": "git/2.40 git2efs",
        "Content-Type": "application/x-git-upload-pack-request",
        "Accept": ", ".join(CONTENT_TYPES),
    }
)
FLUSH, DELIMITER, RESPONSE_END = b"0000", b"0001", b"0002"

_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}(?=[\s;])")
_MAX_CHUNK_LINE_BYTES = 8192
_MAX_PACKET = 65_520
_HEADER_BYTES = 4
_PACK, _PROGRESS, _FATAL = 1, 2, 3
MAX_BYTES_BESIDE_PACK = 32 * 1024 * 1024
"""Bytes of one answer that are not the pack's: room for some 400,000 refs. A remote could send such lines for ever."""


class RemoteFailed(RemoteUnavailable):
    """The remote answered 500: a failure that passes, or how some old servers answer a request of version 2."""


class RetryLater(RemoteUnavailable):
    """The remote asks to be left alone for a while: a rate limit, most likely."""

    def __init__(self, message: str, after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class TokenRefused(RemoteRefused):
    """The remote answered 401."""


class RequestOverrun(RemoteUnavailable):
    """The remote's answer takes more seconds or bytes than a request may. Asking again at once would cost the same."""


class RemoteSays(RemoteUnavailable):
    """The remote answered with an error in its own words, which the message quotes."""


class NotVersion2(RemoteUnsupported):
    """The remote did not answer a request of version 2: it may only speak an older one."""


def packet(line: bytes) -> bytes:
    """Return `line` as one pkt-line."""
    return b"%04x%s" % (len(line) + 4, line)


def ls_refs_request(refs: list[str], *, with_head: bool) -> bytes:
    """Return the body that asks only for `refs` (full names), peeled, and for HEAD's target if `with_head`."""
    lines = [packet(b"command=ls-refs\n"), DELIMITER, packet(b"peel\n"), packet(b"symrefs\n")]
    lines += [packet(b"ref-prefix %s\n" % name.encode()) for name in (["HEAD"] if with_head else []) + refs]
    return b"".join(lines) + FLUSH


def fetch_request(query: FetchQuery) -> bytes:
    """Return the body of a `fetch` command."""
    lines = [packet(b"command=fetch\n"), DELIMITER, packet(b"thin-pack\n"), packet(b"ofs-delta\n")]
    lines += [packet(b"no-progress\n"), packet(b"want %s\n" % query.want.encode()), *history_lines(query)]
    lines += [packet(b"have %s\n" % commit.encode()) for commit in query.haves]
    lines.append(packet(b"done\n"))
    return b"".join(lines) + FLUSH


def history_lines(query: FetchQuery) -> list[bytes]:
    """Return the lines about shallow history: the boundary here, and the depth to fetch."""
    lines = [packet(b"shallow %s\n" % commit.encode()) for commit in query.shallow]
    if query.deepen:
        lines.append(packet(b"deepen %d\n" % query.deepen))
    return lines


def is_gits(status: int, content_type: str) -> bool:
    """Whether an HTTP answer is one of git's by its head; `refusals` tells what any other one means."""
    return status == 200 and content_type.partition(";")[0].strip() in CONTENT_TYPES


def exact_reader(read_some: Read, check_time: Callable[[], None]) -> Read:
    """Return a `Read` over `read_some`, which may return fewer bytes at any time; it calls `check_time` first."""

    def read(count: int) -> bytes:
        check_time()
        content = read_some(count)
        while len(content) < count:
            more = read_some(count - len(content))
            if not more:
                break
            content += more
        return content

    return read


def read_packets(read: Read) -> Iterator[bytes]:
    """Yield each pkt-line's content, and DELIMITER for a delimiter packet; end at the flush packet.

    Raises RemoteUnavailable for a response that breaks off, RequestOverrun past MAX_BYTES_BESIDE_PACK, and
    RemoteUnsupported for one that is not a pkt-line stream.
    """
    size = 0
    while True:
        header = read(_HEADER_BYTES)
        if not header and size == 0:
            # An old git answers nothing to a request that it does not understand.
            raise NotVersion2("the remote's answer is empty")
        length = _length_of(header)
        if header in (FLUSH, RESPONSE_END):
            return
        content = DELIMITER if header == DELIMITER else read(length - _HEADER_BYTES)
        if header != DELIMITER and len(content) < length - _HEADER_BYTES:
            raise RemoteUnavailable("the remote's answer broke off")
        # Who takes the pack's bytes bounds them. Outside of the side band no reader accepts a packet of its channel.
        size += _HEADER_BYTES + (1 if content[:1] == b"\x01" else len(content))
        if size > MAX_BYTES_BESIDE_PACK:
            raise RequestOverrun(f"the remote's answer holds more than {MAX_BYTES_BESIDE_PACK} bytes beside the pack")
        if content.startswith(b"ERR "):
            raise _remote_error(content[4:])
        yield content


def _length_of(header: bytes) -> int:
    """Return a packet's length, its header included; of a special packet, what its header says."""
    if len(header) < _HEADER_BYTES:
        raise RemoteUnavailable("the remote's answer broke off")
    try:
        length = int(header, 16)
    except ValueError:
        raise RemoteUnsupported("the remote's answer is not git's protocol") from None
    if header not in (FLUSH, DELIMITER, RESPONSE_END) and not _HEADER_BYTES <= length <= _MAX_PACKET:
        raise RemoteUnsupported("the remote's answer is not git's protocol")
    return length


def read_refs(packets: Iterator[bytes]) -> RemoteRefs:
    """Return the answer to `ls-refs`: lines of `<id> <ref>[ symref-target:<ref>][ peeled:<id>]`."""
    tips: dict[str, Tip] = {}
    head: str | None = None
    for line in packets:
        parts = line.rstrip(b"\n").split(b" ")
        if len(parts) < 2 or not is_object_id(parts[0]):
            raise RemoteUnsupported("the remote's refs are not sha1 ids")
        attributes = dict(part.split(b":", 1) for part in parts[2:] if b":" in part)
        peeled = attributes.get(b"peeled", parts[0])
        if not is_object_id(peeled):
            raise RemoteUnsupported("the remote's refs are not sha1 ids")
        name = parts[1].decode("utf-8", "surrogateescape")
        if name == "HEAD":
            target = attributes.get(b"symref-target")
            head = target.decode("utf-8", "surrogateescape") if target else None
            if head is not None:
                tips.setdefault(head, Tip(head, parts[0].decode(), peeled.decode()))
        else:
            tips[name] = Tip(name, parts[0].decode(), peeled.decode())
    return RemoteRefs(tips, head)


def read_fetch(packets: Iterator[bytes], write: Callable[[bytes], object]) -> ShallowChanges:
    """Hand the pack's bytes to `write` as they arrive; return the shallow changes, which come before them."""
    changes = NO_SHALLOW_CHANGES
    for header in packets:
        section = header.rstrip(b"\n")
        if section == b"packfile":
            read_sideband(packets, write)
            return changes
        if section == b"shallow-info":
            changes = read_shallow(packets)
        else:
            raise RemoteUnsupported("the remote's answer has an unknown section")
    raise RemoteUnavailable("the remote's answer holds no pack")


def read_shallow(packets: Iterator[bytes]) -> ShallowChanges:
    """Read `shallow <id>` and `unshallow <id>` lines up to the end of their section."""
    found: dict[bytes, set[bytes]] = {b"shallow": set(), b"unshallow": set()}
    for line in packets:
        if line == DELIMITER:
            break
        kind, _, commit = line.rstrip(b"\n").partition(b" ")
        if kind not in found or not is_object_id(commit):
            raise RemoteUnsupported("the remote's shallow section is not git's protocol")
        found[kind].add(commit)
    return ShallowChanges(frozenset(found[b"shallow"]), frozenset(found[b"unshallow"]))


def read_sideband(packets: Iterator[bytes], write: Callable[[bytes], object]) -> None:
    """Hand the pack's bytes to `write`, drop progress messages, and raise the remote's fatal ones."""
    for line in packets:
        channel = line[0] if line else 0
        if channel == _PACK:
            write(line[1:])
        elif channel == _FATAL:
            raise _remote_error(line[1:])
        elif channel != _PROGRESS:
            raise RemoteUnsupported("the remote's answer has an unknown side band")


def _remote_error(text: bytes) -> Git2EfsError:
    """Return our error for an `ERR` line's text, by the wordings of git's own server."""
    if b"not our ref" in text:
        return CommitNotFound("the remote does not know the wanted commit")
    if b"expected to get" in text or b"protocol error" in text:
        return NotVersion2("the remote does not speak git's protocol version 2")
    if b"object format" in text or b"object-format" in text:
        return RemoteUnsupported("the remote's objects are not sha1")
    # In a line of the log: git's own server ends some of its errors with a NUL, and another may write anything.
    words = "".join(each if each.isprintable() else " " for each in text[:200].decode("utf-8", "replace"))
    return RemoteSays(f"the remote answered: {' '.join(words.split())}")


def refuse_negative_chunks(response: Any) -> None:
    """Let a chunk's size be hexadecimal digits alone, whatever the remote writes."""
    # http.client takes `-5` for a size, on which the read fails as if by a defect of ours; and on `-1` it reads all
    # that comes into memory. Not a response class of our own: it would be made for every request.
    raw = response._fp
    if response.chunked and raw.fp is not None:
        raw._read_next_chunk_size = partial(_read_chunk_size, raw.fp)


def _read_chunk_size(file: BinaryIO) -> int:
    line = file.readline(_MAX_CHUNK_LINE_BYTES)
    size = _CHUNK_SIZE.match(line)
    if size is None:
        raise ValueError("no chunk's size")  # http.client makes this an answer that broke off
    return int(size[0], 16)


def without_secrets(answer: RemoteRefs, secrets: Sequence[str]) -> RemoteRefs:
    """Return the answer; raise RemoteUnsupported where a ref's name, which becomes a path, holds one of `secrets`."""
    if any(secret in name for secret in secrets for name in (answer.head or "", *answer.tips)):
        raise RemoteUnsupported("the remote's refs hold the token that was sent to it")
    return answer
