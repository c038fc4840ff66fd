"""The server's side of a fetch in git's protocol version 2, over an object store. No HTTP, no files.

One request in, one whole answer out: https://git-scm.com/docs/protocol-v2. It covers what git and dulwich use to
fetch: `ls-refs` (peel, symrefs, ref-prefix, unborn) and `fetch` (want, have, done, shallow,
deepen; packs hold whole objects, so thin-pack and ofs-delta are accepted and not used). dulwich's own server
speaks versions 0 and 1 only.
"""

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Commit, ObjectID, ShaFile, Tag, Tree
from dulwich.pack import write_pack_objects
from dulwich.protocol import pkt_line

FLUSH: Final = b"0000"
DELIMITER: Final = b"0001"
AGENT: Final = b"git2efs-sample-origin"
SIDE_BAND_BYTES: Final = 65515
CAPABILITIES: Final = (
    b"version 2",
    b"agent=" + AGENT,
    b"ls-refs=unborn",
    b"fetch=shallow",
    b"object-format=sha1",
)

_ID = re.compile(rb"[0-9a-f]{40}")
_IGNORED = frozenset({b"thin-pack", b"ofs-delta", b"no-progress", b"include-tag"})


class ProtocolError(Exception):
    """The client asked for something unknown or malformed; it gets the text in an ERR packet."""


@dataclass(frozen=True, slots=True)
class Refs:
    """The repository's refs: full name -> object id, and the ref that HEAD points to."""

    head: bytes
    ids: Mapping[bytes, ObjectID]


@dataclass(slots=True)
class _FetchRequest:
    wants: list[ObjectID] = field(default_factory=list)
    haves: list[ObjectID] = field(default_factory=list)
    shallow: set[ObjectID] = field(default_factory=set)
    depth: int | None = None
    is_done: bool = False


def advertisement() -> bytes:
    """Return the body of `info/refs`, with the service line in front as GitHub sends it."""
    service = pkt_line(b"# service=git-upload-pack\n") + FLUSH
    return service + b"".join(pkt_line(line + b"\n") for line in CAPABILITIES) + FLUSH


def answer(store: BaseObjectStore, refs: Refs, body: bytes) -> bytes:
    """Return the answer to one `git-upload-pack` request; a problem becomes an ERR packet, not an exception."""
    try:
        command, arguments = _parse(body)
        if command == b"ls-refs":
            return _ls_refs(store, refs, arguments)
        if command == b"fetch":
            return _fetch(store, _fetch_request(arguments))
        raise ProtocolError("unknown command")
    except ProtocolError as error:
        return pkt_line(b"ERR " + str(error).encode() + b"\n")


def _parse(body: bytes) -> tuple[bytes, list[bytes]]:
    """Return the command and its arguments: the lines after the delimiter."""
    command = b""
    arguments: list[bytes] = []
    is_past_delimiter = False
    for line in _packets(body):
        if line is None:
            is_past_delimiter = True
        elif is_past_delimiter:
            arguments.append(line)
        elif line.startswith(b"command="):
            command = line.removeprefix(b"command=")
    return command, arguments


def _packets(body: bytes) -> Iterator[bytes | None]:
    """Yield the lines up to the flush packet, None for a delimiter."""
    position = 0
    while True:
        prefix = body[position : position + 4]
        try:
            size = int(prefix, 16)
        except ValueError:
            raise ProtocolError("no packet line") from None
        if size == 0:
            return
        if size == 1:
            yield None
            position += 4
            continue
        line = body[position + 4 : position + size]
        if size < 4 or len(line) != size - 4:
            raise ProtocolError("packet line cut short")
        yield line.removesuffix(b"\n")
        position += size


def _ls_refs(store: BaseObjectStore, refs: Refs, arguments: Iterable[bytes]) -> bytes:
    flags = set(arguments)
    prefixes = tuple(line.removeprefix(b"ref-prefix ") for line in flags if line.startswith(b"ref-prefix "))
    lines: list[bytes] = []
    if b"HEAD".startswith(prefixes or b""):
        symref = b" symref-target:" + refs.head if b"symrefs" in flags else b""
        if refs.head in refs.ids:
            lines.append(refs.ids[refs.head] + b" HEAD" + symref)
        elif b"unborn" in flags:
            lines.append(b"unborn HEAD" + symref)
    for name, object_id in sorted(refs.ids.items()):
        if name.startswith(prefixes or b""):
            peeled = _peel(store, object_id)
            suffix = b" peeled:" + peeled if b"peel" in flags and peeled != object_id else b""
            lines.append(object_id + b" " + name + suffix)
    return b"".join(pkt_line(line + b"\n") for line in lines) + FLUSH


def _fetch_request(arguments: Iterable[bytes]) -> _FetchRequest:
    request = _FetchRequest()
    for line in arguments:
        word, _, value = line.partition(b" ")
        if word in (b"want", b"have", b"shallow"):
            if not _ID.fullmatch(value):
                raise ProtocolError("not an object id")
            object_id = ObjectID(value)
            if word == b"want":
                request.wants.append(object_id)
            elif word == b"have":
                request.haves.append(object_id)
            else:
                request.shallow.add(object_id)
        elif word == b"deepen":
            if not value.isdigit() or len(value) > 10 or int(value) < 1:
                raise ProtocolError("deepen needs a positive number")
            request.depth = int(value)
        elif line == b"done":
            request.is_done = True
        elif line not in _IGNORED:
            raise ProtocolError("argument not supported")
    return request


def _fetch(store: BaseObjectStore, request: _FetchRequest) -> bytes:
    for want in request.wants:
        if want not in store:
            raise ProtocolError(f"upload-pack: not our ref {want.decode()}")
    common = [have for have in request.haves if have in store]
    sections = bytearray()
    if not request.is_done:
        sections += pkt_line(b"acknowledgments\n")
        sections += b"".join(pkt_line(b"ACK " + have + b"\n") for have in common) or pkt_line(b"NAK\n")
        if not common:
            return bytes(sections + FLUSH)
        sections += pkt_line(b"ready\n") + DELIMITER
    cut, shallow_info = _boundary(store, request)
    if request.depth is not None or request.shallow:
        sections += pkt_line(b"shallow-info\n") + b"".join(map(pkt_line, shallow_info)) + DELIMITER
    # The client's history ends at its old boundary, even if this fetch deepens it.
    held = set(_reachable(store, common, request.shallow))
    missing = [found for found in _reachable(store, request.wants, cut) if found not in held]
    sections += pkt_line(b"packfile\n")
    pack = _pack(store, missing)
    for start in range(0, len(pack), SIDE_BAND_BYTES):
        sections += pkt_line(b"\x01" + pack[start : start + SIDE_BAND_BYTES])
    return bytes(sections + FLUSH)


def _boundary(store: BaseObjectStore, request: _FetchRequest) -> tuple[set[ObjectID], list[bytes]]:
    """Return the shallow boundary: the commits whose parents are left out, and the lines for the client."""
    if request.depth is None:
        return request.shallow, []
    level = {peeled for want in request.wants if isinstance(store[peeled := _peel(store, want)], Commit)}
    inner: set[ObjectID] = set()
    for _ in range(request.depth - 1):
        inner |= level
        level = {parent for commit in level for parent in _parents(store, commit)} - inner
        if not level:
            break
    # The last level is shallow even if it has no parents; git's own server says so too.
    lines = [b"shallow " + commit + b"\n" for commit in sorted(level - request.shallow)]
    lines += [b"unshallow " + commit + b"\n" for commit in sorted(request.shallow & inner)]
    return level | (request.shallow - inner), lines


def _parents(store: BaseObjectStore, commit: ObjectID) -> list[ObjectID]:
    found = store[commit]
    return list(found.parents) if isinstance(found, Commit) else []


def _peel(store: BaseObjectStore, object_id: ObjectID) -> ObjectID:
    """Return what annotated tags lead to in the end."""
    while isinstance(found := store[object_id], Tag):
        object_id = found.object[1]
    return object_id


def _reachable(store: BaseObjectStore, roots: Iterable[ObjectID], cut: set[ObjectID]) -> Iterator[ObjectID]:
    """Yield every object reachable from `roots` once, without going past the commits in `cut`."""
    seen: set[ObjectID] = set()
    waiting = list(roots)
    while waiting:
        object_id = waiting.pop()
        if object_id in seen or object_id not in store:
            continue
        seen.add(object_id)
        yield object_id
        found = store[object_id]
        if isinstance(found, Tag):
            waiting.append(found.object[1])
        elif isinstance(found, Commit):
            waiting.append(found.tree)
            waiting.extend([] if object_id in cut else found.parents)
        elif isinstance(found, Tree):
            # A submodule's commit is in another repository.
            waiting.extend(entry.sha for entry in found.items() if not _is_gitlink(entry.mode))


def _is_gitlink(mode: int) -> bool:
    return stat.S_IFMT(mode) == 0o160000


def _pack(store: BaseObjectStore, object_ids: Iterable[ObjectID]) -> bytes:
    objects: list[ShaFile] = [store[object_id] for object_id in object_ids]
    pack = bytearray()
    write_pack_objects(pack.extend, objects, object_format=store.object_format, deltify=False)
    return bytes(pack)
