"""Repack the mirror: every push adds a pack, and reading from many packs is slow.

The packs' sizes alone decide between two steps:

- merge: the small packs become one; compressed bytes and deltas are copied as they are;
- rewrite: one pack remains, without what no release needs any more.

A pack that is large enough is not merged again, so each byte is copied a bounded number of times. A rewrite comes only
when there is as much to leave out as to keep. So it costs about what the pushes before it brought. The `gc` of git and
of dulwich need all objects in memory, or minutes.
"""

import hashlib
import io
import zlib
from binascii import crc32
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from dulwich.object_format import SHA1
from dulwich.objects import RawObjectID
from dulwich.pack import (
    OFS_DELTA,
    REF_DELTA,
    Pack,
    UnpackedObject,
    pack_header_chunks,
    pack_object_header,
    write_pack_index_v2,
)

from handler.errors import MirrorDamaged
from handler.mount.git.commit import tree_in
from handler.mount.git.ingest import IndexedPack
from handler.mount.git.objects import COMMIT, TREE, hash_object
from handler.mount.git.packs import RawObject
from handler.mount.git.tree import DIRECTORY, SUBMODULE, parse_entries

MAX_SMALL_PACKS = 6
"""A cold start opens them all: so few keep that within some dozens of round trips."""
MAX_LARGE_PACKS = 6
LARGE_BYTES = 4 * 1024 * 1024
"""A pack of this size is not merged again; the next rewrite takes it."""
MIN_SPARE_BYTES = 16 * 1024 * 1024
"""A mirror may hold this much beside its largest pack, or as much as that pack has, before it is rewritten."""


class RepackStep(Enum):
    """What to do with the packs."""

    NOTHING = auto()
    MERGE = auto()
    REWRITE = auto()


@dataclass(frozen=True, slots=True)
class RepackPlan:
    """A step, and the names of the packs that one pack replaces."""

    step: RepackStep
    packs: frozenset[str] = frozenset()


def plan_repack(sizes: Mapping[str, int], *, keeps_history: bool) -> RepackPlan:
    """Return the step for packs of these sizes (bytes by name). Pure.

    With `keeps_history` (depth 0) no object is ever left out, so large packs are merged when there are too many.
    """
    if len(sizes) <= MAX_SMALL_PACKS:
        return RepackPlan(RepackStep.NOTHING)
    largest = max(sizes, key=lambda name: (sizes[name], name))
    others = {name: size for name, size in sizes.items() if name != largest}
    small = frozenset(name for name, size in others.items() if size < LARGE_BYTES)
    is_fragmented = len(others) - len(small) > MAX_LARGE_PACKS
    if keeps_history:
        merged = frozenset(others) if is_fragmented else small
        # With large packs there, even one small pack is too many, but to write that one again would change nothing.
        return RepackPlan(RepackStep.MERGE, merged) if len(merged) > 1 else RepackPlan(RepackStep.NOTHING)
    if is_fragmented or sum(others.values()) > max(MIN_SPARE_BYTES, sizes[largest]):
        return RepackPlan(RepackStep.REWRITE, frozenset(sizes))
    return RepackPlan(RepackStep.MERGE, small) if len(small) > MAX_SMALL_PACKS - 1 else RepackPlan(RepackStep.NOTHING)


def all_objects(packs: Iterable[Pack]) -> dict[bytes, None]:
    """Return the binary ids of all objects in the packs, each once, in the packs' order."""
    ordered = (sorted(pack.index.iterentries(), key=lambda entry: entry[1]) for pack in packs)
    return {bytes(entry[0]): None for entries in ordered for entry in entries}


def needed_objects(commits: Iterable[str], read: Callable[[bytes, int], bytes]) -> dict[bytes, None]:
    """Return the binary ids of these commits, their trees and files: all that comparing and publishing them needs.

    `read(hex id, kind)` returns a commit or a tree. Raises TreeUnsafe, and what `read` raises.
    """
    needed: dict[bytes, None] = {}
    pending: list[bytes] = []
    for commit in commits:
        needed[bytes.fromhex(commit)] = None
        pending.append(tree_in(read(commit.encode(), COMMIT)))
    while pending:
        tree = pending.pop()
        if bytes.fromhex(tree.decode()) in needed:
            continue
        needed[bytes.fromhex(tree.decode())] = None
        for entry in parse_entries(read(tree, TREE)).values():
            if entry.mode == DIRECTORY:
                pending.append(entry.id)
            elif entry.mode != SUBMODULE:
                needed[bytes.fromhex(entry.id.decode())] = None
    return needed


def write_pack(wanted: Collection[bytes], packs: Sequence[Pack], write: Callable[[bytes], object]) -> IndexedPack:
    """Write the objects `wanted` (binary ids, all in `packs`, the newest first) as one pack; return its name and index.

    Raises KeyError for an object that is missing.
    """
    # Copy compressed bytes, and keep a delta if its base comes along. Both come from the first pack that has them: so
    # no chain of deltas can lead round in a circle, and with the newest pack first no chain grows from merge to merge.
    writer = _PackRecords(packs=[_Located(pack) for pack in packs], wanted=set(wanted), write=write)
    writer.put(pack_header_chunks(len(wanted)))
    for object_id in wanted:
        writer.add(object_id)
    return writer.finish()


def write_new(objects: Mapping[bytes, RawObject], write: Callable[[bytes], object]) -> IndexedPack:
    """Write new objects (type and content by hex id) as one pack, none as a delta; return its name and index.

    Raises MirrorDamaged for an object that is not what its id says.
    """
    writer = _PackRecords(packs=[], wanted=set(), write=write)
    writer.put(pack_header_chunks(len(objects)))
    for object_id, (kind, content) in objects.items():
        if hash_object(kind, content) != object_id:
            raise MirrorDamaged(f"object {object_id.decode()} is not what its id says")
        writer.add_whole(bytes.fromhex(object_id.decode()), kind, content)
    return writer.finish()


class _Located:
    """A pack, and the id at each offset, which its index does not tell."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.offsets = {bytes(object_id): offset for object_id, offset, _ in pack.index.iterentries()}
        self.ids = {offset: object_id for object_id, offset in self.offsets.items()}

    def base_of(self, found: UnpackedObject) -> bytes | None:
        """Return the binary id of a delta's base, None for a whole object."""
        if found.delta_base is None or isinstance(found.delta_base, bytes):
            return found.delta_base
        assert found.offset is not None
        return self.ids[found.offset - found.delta_base]


@dataclass(slots=True, kw_only=True)
class _PackRecords:
    packs: list[_Located]
    wanted: set[bytes]
    write: Callable[[bytes], object]
    offset: int = 0
    digest: "hashlib._Hash" = field(default_factory=lambda: hashlib.sha1(usedforsecurity=False))
    entries: dict[bytes, tuple[int, int]] = field(default_factory=dict)

    def put(self, chunks: Iterable[bytes]) -> int:
        """Write the chunks; returns their CRC-32."""
        checksum = 0
        for chunk in chunks:
            self.write(chunk)
            self.digest.update(chunk)
            checksum = crc32(chunk, checksum)
            self.offset += len(chunk)
        return checksum

    def add(self, object_id: bytes) -> None:
        """Write one object's record, as a delta if it was one and its base is wanted too."""
        located = next((each for each in self.packs if object_id in each.offsets), None)
        if located is None:
            raise KeyError(object_id)
        found = located.pack.data.get_unpacked_object_at(located.offsets[object_id], include_comp=True)
        base = located.base_of(found)
        if base is not None and base not in self.wanted:
            self.add_whole(object_id, *located.pack.get_raw(RawObjectID(object_id)))
            return
        assert found.comp_chunks is not None
        header = pack_object_header(*self._kind(found, base), sum(map(len, found.decomp_chunks)), SHA1)
        self.entries[object_id] = (self.offset, self.put([bytes(header), *found.comp_chunks]))

    def add_whole(self, object_id: bytes, kind: int, content: bytes) -> None:
        """Write one object's record from its content."""
        header = pack_object_header(kind, None, len(content), SHA1)
        self.entries[object_id] = (self.offset, self.put([bytes(header), zlib.compress(content)]))

    def _kind(self, found: UnpackedObject, base: bytes | None) -> tuple[int, bytes | int | None]:
        if base is None:
            return found.pack_type_num, None
        if base in self.entries:
            return OFS_DELTA, self.offset - self.entries[base][0]
        return REF_DELTA, base

    def finish(self) -> IndexedPack:
        trailer = self.digest.digest()
        self.write(trailer)
        index = io.BytesIO()
        write_pack_index_v2(index, sorted((each, *place) for each, place in self.entries.items()), trailer)
        return IndexedPack(trailer.hex(), index.getvalue(), len(self.entries))
