"""Git's protocol over a connection that has a state, as SSH makes it. Pure: bytes in, values out.

The server speaks first, and its first line says whether it speaks version 2: one that does not needs no second try.
Source: git's Documentation/gitprotocol-v2.txt ("Initial Client Request"), gitprotocol-pack.txt ("SSH Transport").
"""

from collections.abc import Callable, Iterator
from itertools import chain

from handler.exchange.remote import FetchQuery, RemoteRefs, ShallowChanges
from handler.network.remote import protocol, protocol_v0
from handler.network.remote.protocol import FLUSH, Read, read_packets

Send = Callable[[bytes], None]


def ask_refs(read: Read, send: Send, refs: list[str], *, with_head: bool) -> RemoteRefs:
    """Return what `refs` and HEAD name; raises as `protocol.read_refs` does, and NotVersion2 if nothing is said."""
    is_version_2, lines = _greeting(read)
    if is_version_2:
        send(protocol.ls_refs_request(refs, with_head=with_head))
        found = protocol.read_refs(read_packets(read))
    else:
        found = protocol_v0.read_refs(lines)
    # The server waits for another request, or for what is wanted; a flush packet says that nothing is.
    send(FLUSH)
    return found


def fetch(read: Read, send: Send, query: FetchQuery, write: Callable[[bytes], object]) -> ShallowChanges:
    """Hand the pack's bytes to `write` as they arrive; raises as `protocol.read_fetch` does, and as `ask_refs`."""
    is_version_2, lines = _greeting(read)
    if is_version_2:
        send(protocol.fetch_request(query))
        changes = protocol.read_fetch(read_packets(read), write)
        send(FLUSH)
        return changes
    for _ in lines:
        pass
    send(protocol_v0.fetch_request(query))
    return protocol_v0.read_fetch(read, write, is_deepened=query.deepen > 0)


def _greeting(read: Read) -> tuple[bool, Iterator[bytes]]:
    """Return whether the server speaks version 2, and the lines of what it advertises in version 0."""
    packets = read_packets(read)
    first = next(packets, None)
    if first is not None and first.rstrip(b"\n") == b"version 2":
        for _ in packets:  # its capabilities: every server has both commands
            pass
        return True, iter(())
    return False, packets if first is None else chain([first], packets)
