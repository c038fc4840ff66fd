"""Git's wire protocol version 2, the part that a fetch of one ref needs. Pure: bytes in, values out.

Both requests are one stateless POST to `git-upload-pack`. We send no capability that an old server could refuse, so
we save the advertisement (`info/refs`, a whole round trip): every v2 server has `ls-refs` and `fetch`.
Source: git's Documentation/gitprotocol-v2.txt and gitprotocol-pack.txt.
"""

from collections.abc import Callable, Iterator

from handler.config.names import is_object_id
from handler.errors import CommitNotFound, Git2EfsError, RemoteUnavailable, RemoteUnsupported
from handler.exchange.remote import NO_SHALLOW_CHANGES, FetchQuery, RemoteRefs, ShallowChanges
from handler.model import Tip

FLUSH, DELIMITER, RESPONSE_END = b"0000", b"0001", b"0002"

_MAX_PACKET = 65_520
_PACK, _PROGRESS, _FATAL = 1, 2, 3


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
    if query.have is not None:
        lines.append(packet(b"have %s\n" % query.have.encode()))
    lines.append(packet(b"done\n"))
    return b"".join(lines) + FLUSH


def history_lines(query: FetchQuery) -> list[bytes]:
    """Return the lines about shallow history: the boundary here, and the depth to fetch."""
    lines = [packet(b"shallow %s\n" % commit.encode()) for commit in query.shallow]
    if query.deepen:
        lines.append(packet(b"deepen %d\n" % query.deepen))
    return lines


def read_packets(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield each pkt-line's content, and DELIMITER for a delimiter packet; end at the flush packet.

    `read(n)` returns exactly n bytes, or fewer at the end of the response. Raises RemoteUnavailable for a response that
    breaks off, and RemoteUnsupported for one that is not a pkt-line stream.
    """
    is_first = True
    while True:
        header = read(4)
        if not header and is_first:
            # An old git answers nothing to a request that it does not understand.
            raise NotVersion2("the remote's answer is empty")
        is_first = False
        if len(header) < 4:
            raise RemoteUnavailable("the remote's answer broke off")
        try:
            length = int(header, 16)
        except ValueError:
            raise RemoteUnsupported("the remote's answer is not git's protocol") from None
        if header in (FLUSH, RESPONSE_END):
            return
        if header == DELIMITER:
            yield DELIMITER
            continue
        if not 4 <= length <= _MAX_PACKET:
            raise RemoteUnsupported("the remote's answer is not git's protocol")
        content = read(length - 4)
        if len(content) < length - 4:
            raise RemoteUnavailable("the remote's answer broke off")
        if content.startswith(b"ERR "):
            raise _remote_error(content[4:])
        yield content


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
    return RemoteSays(f"the remote answered: {text[:200].decode('utf-8', 'replace').strip()}")
