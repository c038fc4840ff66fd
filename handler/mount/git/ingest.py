"""Receive a pack, into memory while it is small, else into a file on the mount; then check, complete and index it.

Indexing computes every object's id from its content. A `PackStore` makes the pack visible, after all of it is checked.
"""

import hashlib
import io
import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from dulwich.object_format import SHA1
from dulwich.pack import (
    PackData,
    PackIndexer,
    UnpackedObject,
    UnresolvedDeltas,
    extend_pack,
    obj_sha,
    unpack_object_at,
    write_pack_index_v2,
)

from handler.errors import Git2EfsError, MirrorDamaged, PackInvalid, PackTooLarge
from handler.exchange.remote import NO_SHALLOW_CHANGES
from handler.mount.git import packs
from handler.mount.git.packs import NOT_A_PACK, RawObject, ReadRaw, forget_pages

_HEADER_BYTES, _TRAILER_BYTES = 12, 20
EMPTY_PACK_BYTES = _HEADER_BYTES + _TRAILER_BYTES
_PAGES_BYTES = 32 * 1024 * 1024
"""How much of a large pack stays in memory while it is read from one end to the other."""

FRESH_BYTES = 32 * 1024 * 1024

Entry = tuple[bytes, int, int | None]
"""What an index holds of an object: binary id, offset, CRC-32 of its record."""


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
        self.size += len(content)
        if self.size > self._max_bytes:
            raise PackTooLarge(f"the fetch brings more than {self._max_bytes} bytes")
        if self.name is None and self.size > packs.IN_MEMORY_BYTES:
            file, name = self._make_file()
            self.name = name
            file.write(self.content())
            self.file = file
        self.file.write(content)
        # Hashed as it comes, so that a large pack need not be read once more from the mount.
        content = self._tail + content
        self._digest.update(content[:-_TRAILER_BYTES])
        self._tail = content[-_TRAILER_BYTES:]

    def trailer(self) -> bytes | None:
        """Return the pack's last 20 bytes, which are its checksum; None if it is wrong."""
        return self._tail if self._digest.digest() == self._tail else None

    def restart(self) -> None:
        """Forget what came: the request failed, and the next one sends all of it again."""
        self.size = 0
        self.file.seek(0)
        self.file.truncate()
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._tail = b""

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


def index_pack(spool: PackSpool, read_raw: ReadRaw, fresh: dict[bytes, RawObject]) -> IndexedPack | None:
    """Check the received pack, complete it, and make its index; return None for a pack without objects.

    `read_raw` finds the bases of thin deltas. `fresh` takes the whole objects by their hex ids, up to FRESH_BYTES: they
    need not be inflated and hashed again to be published. Raises PackInvalid for a pack that is not sound, and
    MirrorDamaged if a delta's base is missing that we claimed to have.
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
            indexer = PackIndexer(None, SHA1.hash_func, resolve_ext_ref=read_raw)
            entries = _entries(data, indexer, fresh)
        finally:
            data.close()
    except UnresolvedDeltas:
        raise MirrorDamaged("the pack builds on objects that the mirror does not have") from None
    except Git2EfsError:
        raise
    except NOT_A_PACK as error:
        raise PackInvalid(f"the pack cannot be read ({type(error).__name__})") from None
    appended: Sequence[Entry] = ()
    if bases := set(indexer.ext_refs()):
        file.seek(0)
        trailer, appended = extend_pack(file, bases, get_raw=read_raw, object_format=SHA1)
    index = io.BytesIO()
    write_pack_index_v2(index, sorted([*entries, *appended]), trailer)
    return IndexedPack(trailer.hex(), index.getvalue(), len(entries) + len(appended))


def _entries(data: PackData, indexer: PackIndexer, fresh: dict[bytes, RawObject]) -> list[Entry]:
    """Return the index's entries of every object that the pack holds."""
    whole, bases = _read_whole_objects(data, indexer, fresh)
    # The second pass resolves deltas, and so reads again only those and the whole objects that they build on.
    for offset, (name, kind, _) in whole.items():
        if offset in bases or name in bases:
            base = UnpackedObject(kind)
            base.offset = offset
            indexer.record(base)
    indexer.set_pack_data(data)
    entries: list[Entry] = [(name, offset, checksum) for offset, (name, _, checksum) in whole.items()]
    for number, (name, offset, checksum) in enumerate(indexer):
        if offset not in whole:
            entries.append((name, offset, checksum))
        if number % 1000 == 999:
            forget_pages(data)
    if len(entries) != len(data):
        raise PackInvalid("the pack does not hold what its header says")
    return entries


def _read_whole_objects(
    data: PackData, indexer: PackIndexer, fresh: dict[bytes, RawObject]
) -> tuple[dict[int, tuple[bytes, int, int | None]], set[int | bytes]]:
    """Hash every object that is no delta, and record every delta with `indexer`.

    Returns id, type and CRC-32 of the whole objects by their offsets; and what the deltas build on, an offset or a
    binary id each.
    """
    whole: dict[int, tuple[bytes, int, int | None]] = {}
    bases: set[int | bytes] = set()
    room = FRESH_BYTES
    for unpacked in _read_through(data):
        assert unpacked.offset is not None
        kind, base = unpacked.pack_type_num, unpacked.delta_base
        if base is not None:
            bases.add(base if isinstance(base, bytes) else unpacked.offset - base)
            indexer.record(unpacked)
            continue
        name = obj_sha(kind, unpacked.decomp_chunks)
        whole[unpacked.offset] = (name, kind, unpacked.crc32)
        room -= sum(map(len, unpacked.decomp_chunks))
        if room > 0:
            fresh[name.hex().encode()] = (kind, b"".join(unpacked.decomp_chunks))
    return whole, bases


def _read_through(data: PackData) -> Iterator[UnpackedObject]:
    """Yield the pack's records in their order, inflated, with offset and CRC-32."""
    contents: bytes | mmap.mmap = data._buffer()
    offset, forgotten = _HEADER_BYTES, 0
    for _ in range(len(data)):
        unpacked, offset = unpack_object_at(contents, offset, SHA1.hash_func, compute_crc32=True)
        yield unpacked
        if offset - forgotten > _PAGES_BYTES:
            forget_pages(data)
            forgotten = offset
