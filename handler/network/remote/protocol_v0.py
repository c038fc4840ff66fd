"""Git's wire protocol version 0, for the servers that still speak nothing else. Pure: bytes in, values out.

A GET returns an advertisement of all refs; the fetch is one POST as in version 2, without sections. The server may
refuse a commit that no ref names. Source: git's Documentation/gitprotocol-pack.txt.
"""

from collections.abc import Callable, Iterable, Iterator

from handler.config.names import is_object_id
from handler.errors import RemoteUnavailable, RemoteUnsupported
from handler.exchange.remote import NO_SHALLOW_CHANGES, FetchQuery, RemoteRefs, ShallowChanges
from handler.model import Tip
from handler.network.remote.protocol import FLUSH, history_lines, packet, read_packets, read_shallow, read_sideband

_CAPABILITIES = b"side-band-64k thin-pack ofs-delta no-progress"
_PEELED = "^{}"


def is_advertisement(head: bytes) -> bool:
    """Whether an answer to `info/refs` starts as in version 0; in version 2 it names its version."""
    return head.startswith(b"001e# service=git-upload-pack\n0000") and b"version 2\n" not in head[:60]


def read_advertisement(read: Callable[[int], bytes]) -> RemoteRefs:
    """Return all refs, peeled, and HEAD's target, over HTTP. Raises RemoteUnavailable, RemoteUnsupported."""
    for line in read_packets(read):  # the line that names the service, up to its flush packet
        if not line.startswith(b"# service="):
            raise RemoteUnsupported("the remote's advertisement does not name its service")
    return read_refs(read_packets(read))


def read_refs(packets: Iterable[bytes]) -> RemoteRefs:
    """Return the same of an advertisement's own lines."""
    ids: dict[str, str] = {}
    head: str | None = None
    for number, line in enumerate(packets):
        about, _, capabilities = line.partition(b"\0")
        if number == 0:
            head = _head(capabilities)
        object_id, _, name = about.rstrip(b"\n").partition(b" ")
        if not is_object_id(object_id):
            raise RemoteUnsupported("the remote's refs are not sha1 ids")
        ids[name.decode("utf-8", "surrogateescape")] = object_id.decode()
    tips = {
        name: Tip(name, object_id, ids.get(name + _PEELED, object_id))
        for name, object_id in ids.items()
        if name.startswith("refs/") and not name.endswith(_PEELED)
    }
    return RemoteRefs(tips, head)


def _head(capabilities: bytes) -> str | None:
    for capability in capabilities.split():
        if capability.startswith(b"symref=HEAD:"):
            return capability[len(b"symref=HEAD:") :].decode("utf-8", "surrogateescape")
    return None


def fetch_request(query: FetchQuery) -> bytes:
    """Return the body of a fetch."""
    lines = [packet(b"want %s %s\n" % (query.want.encode(), _CAPABILITIES)), *history_lines(query), FLUSH]
    lines += [packet(b"have %s\n" % commit.encode()) for commit in query.haves]
    return b"".join(lines) + packet(b"done\n")


def read_fetch(read: Callable[[int], bytes], write: Callable[[bytes], object], *, is_deepened: bool) -> ShallowChanges:
    """Hand the pack's bytes to `write`, and return the shallow changes; `is_deepened` if the request had a depth."""
    changes = read_shallow(read_packets(read)) if is_deepened else NO_SHALLOW_CHANGES
    packets: Iterator[bytes] = read_packets(read)
    answer = next(packets, b"")
    if not answer.startswith((b"NAK", b"ACK ")):
        raise RemoteUnavailable("the remote's answer holds no pack")
    read_sideband(packets, write)
    return changes
