"""Receive a pack, into memory while it is small, else into a file on the mount; then check, complete and index it.

Indexing computes every object's id from its content. A `PackStore` makes the pack visible, after all of it is checked.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from dulwich.object_format import SHA1
from dulwich.objects import RawObjectID
from dulwich.pack import (
    PackData,
    UnresolvedDeltas,
    extend_pack,
    write_pack_index_v2,
)

from handler.errors import Git2EfsError, MirrorDamaged, ObjectCollides, PackInvalid, PackTooLarge
from handler.exchange.remote import NO_SHALLOW_CHANGES
from handler.mount.git import packs
from handler.mount.git.deltas import DeltaChains, Entry, OnObject
from handler.mount.git.packs import (
    NOT_A_PACK,
    PAGES_BYTES,
    Contents,
    RawObject,
    ReadRaw,
    check_record,
    checksum,
    forget_pages,
    inflate_parts,
    object_id,
    record_at,
)

_HEADER_BYTES, _TRAILER_BYTES = 12, 20

FRESH_BYTES = 32 * 1024 * 1024
_CHUNK_BYTES = 4 * 1024 * 1024

Held = Callable[[bytes], RawObject | None]
"""Return the sound object of a binary id that is here already, or None."""


class PackSpool:
    """What a fetch writes to: memory first, a file once it is large. Not safe for threads."""

    def __init__(self, max_bytes: int, make_file: Callable[[], tuple[BinaryIO, str]]) -> None:
        """`make_file` creates the large pack's file, and returns it with its path."""
        self._max_bytes = max_bytes
        self._make_file = make_file
        self.size = 0
        self.file: BinaryIO = io.BytesIO()
        self.name: str | None = None
        self.changes = NO_SHALLOW_CHANGES
        """Where the fetch cuts history, known at its end."""
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._tail = b""

    def write(self, content: bytes) -> None:
        """Append; raises PackTooLarge past the bound."""
        self._count(content)
        if self.name is None and self.size > packs.IN_MEMORY_BYTES:
            file, name = self._make_file()
            self.name = name
            file.write(self.content())
            self.file = file
        self.file.write(content)

    def _count(self, content: bytes) -> None:
        self.size += len(content)
        if self.size > self._max_bytes:
            raise PackTooLarge(f"the fetch brings more than {self._max_bytes} bytes (GIT2EFS_MAX_PACK_BYTES)")
        # Hashed as it comes, so that a pack that is written here need not be read once more from the mount.
        content = self._tail + content
        self._digest.update(content[:-_TRAILER_BYTES])
        self._tail = content[-_TRAILER_BYTES:]

    def trailer(self) -> bytes | None:
        """Return the pack's last 20 bytes, which are its checksum; None if it is wrong."""
        return self._tail if self._digest.digest() == self._tail else None

    def adopt(self, file: BinaryIO, name: str) -> None:
        """Take the file at the path `name`, which holds all of a large pack; raises PackTooLarge past the bound."""
        self.file, self.name = file, name
        while chunk := file.read(_CHUNK_BYTES):
            self._count(chunk)

    def content(self) -> bytes:
        """Return all that came, of a spool that stayed in memory."""
        content: bytes = self.file.getvalue()  # type: ignore[attr-defined]
        return content

    def close(self) -> None:
        """Close the file. When this returns, its bytes are on the server."""
        if self.name is not None:
            self.file.close()


@dataclass(frozen=True, slots=True)
class IndexedPack:
    """A complete pack that is not visible yet: its trailer in hex, which names it, and its index's bytes."""

    trailer: str
    index: bytes
    object_count: int


def index_pack(
    spool: PackSpool, read_raw: ReadRaw, fresh: dict[bytes, RawObject], max_object_bytes: int, held: Held
) -> IndexedPack | None:
    """Check the received pack, complete it, and make its index; return None for a pack without objects.

    `read_raw` finds the bases of thin deltas. `fresh` takes the whole objects by their hex ids, up to FRESH_BYTES: they
    need not be inflated and hashed again to be published. Raises PackInvalid for a pack that is not sound,
    ObjectTooLarge for one with an object over the bound, ObjectCollides for one whose object has the id of another one
    that is `held` or in the pack, and MirrorDamaged if a delta's base is missing that we claimed to have.
    """
    file = spool.file
    file.flush()
    file.seek(0)
    try:
        data = PackData("received", object_format=SHA1, file=file)
        try:
            if len(data) == 0:
                return None
            trailer = spool.trailer()
            if trailer is None:
                raise PackInvalid("the pack's checksum is wrong")
            entries, bases = index_entries(data, read_raw, fresh, max_object_bytes, _comparing_with(held))
            counts = Counter(name for name, _, _ in entries)
            if len(counts) < len(entries):
                twice = {name for name, count in counts.items() if count > 1}
                index_entries(data, read_raw, {}, max_object_bytes, _comparing_among(twice))
        finally:
            data.close()
    except UnresolvedDeltas:
        raise MirrorDamaged("the pack builds on objects that the mirror does not have") from None
    except Git2EfsError:
        raise
    except NOT_A_PACK as error:
        raise PackInvalid(f"the pack cannot be read ({type(error).__name__})") from None
    appended: Sequence[Entry] = ()
    if bases:
        file.seek(0)
        trailer, appended = extend_pack(file, bases, get_raw=read_raw, object_format=SHA1)
    index = io.BytesIO()
    write_pack_index_v2(index, sorted([*entries, *appended]), trailer)
    return IndexedPack(trailer.hex(), index.getvalue(), len(entries) + len(appended))


def _comparing_with(held: Held) -> OnObject:
    """Return what compares each object with the one of its id that is `held`. It raises ObjectCollides."""

    def compare(name: bytes, kind: int, parts: Sequence[bytes]) -> None:
        # The newest pack is read first: what is received here would take the place of what was there.
        found = held(name)
        if found is not None and (found[0] != kind or not _is_same(found[1], parts)):
            raise ObjectCollides(f"two objects have the id {name.hex()}")

    return compare


def _is_same(content: bytes, parts: Sequence[bytes]) -> bool:
    view, at = memoryview(content), 0
    for part in parts:  # joined, it would be in memory once more
        if view[at : at + len(part)] != part:
            return False
        at += len(part)
    return at == len(content)


def _comparing_among(twice: set[bytes]) -> OnObject:
    """Return what compares the objects with an id of `twice` with each other. It raises ObjectCollides."""
    digests: dict[bytes, bytes] = {}

    def compare(name: bytes, kind: int, parts: Sequence[bytes]) -> None:
        if name in twice:
            digest = hashlib.sha256(b"%d" % kind)
            for part in parts:
                digest.update(part)
            if digests.setdefault(name, digest.digest()) != digest.digest():
                raise ObjectCollides(f"two objects of the pack have the id {name.hex()}")

    return compare


def index_entries(
    data: PackData,
    read_raw: ReadRaw,
    fresh: dict[bytes, RawObject],
    max_object_bytes: int,
    on_object: OnObject | None = None,
) -> tuple[list[Entry], set[RawObjectID]]:
    """Return the index's entries of every object that the pack holds, and which bases it does not hold (binary ids).

    `on_object` is told each object, and what it raises is raised. Raises ObjectTooLarge before it inflates or makes an
    object over the bound, PackInvalid, and errors of `NOT_A_PACK`.
    """
    contents: Contents = data._buffer()
    whole: dict[int, tuple[bytes, int, int | None]] = {}
    chains = None
    room = FRESH_BYTES
    offset, forgotten = _HEADER_BYTES, 0
    for _ in range(len(data)):
        record = record_at(contents, offset)
        check_record(record, max_object_bytes)
        parts, end = inflate_parts(contents, record)
        crc = checksum(contents, offset, end)
        if record.base is not None:
            chains = chains or DeltaChains(
                contents=contents, read_raw=read_raw, max_bytes=max_object_bytes, on_object=on_object
            )
            chains.add(offset, record, crc)
        else:
            name = object_id(record.kind, parts)
            if on_object is not None:
                on_object(name, record.kind, parts)
            whole[offset] = (name, record.kind, crc)
            room -= record.size
            if room > 0:
                fresh[name.hex().encode()] = (record.kind, b"".join(parts))
        # Not until the next one is inflated: that would be one more object in memory.
        del parts
        offset = end
        if offset - forgotten > PAGES_BYTES:
            forget_pages(data)
            forgotten = offset
    entries: list[Entry] = [(name, at, checksum) for at, (name, _, checksum) in whole.items()]
    if chains is None:
        return entries, set()
    for number, entry in enumerate(chains.resolve(whole)):
        entries.append(entry)
        if number % 1000 == 999:
            forget_pages(data)
    return entries, {RawObjectID(name) for name in chains.external}
