"""Receiving a pack: into memory while it is small, else into a file in the mirror; each byte reaches the mount once.

Then it is indexed, which computes every object's id from its content, and completed with the bases that its deltas
build on. Showing it is the mirror's: nothing of it is seen before all of it is checked.
"""

import hashlib
import io
import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from dulwich.object_format import SHA1
from dulwich.pack import (
    OFS_DELTA,
    REF_DELTA,
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
from handler.exchange.remote import ShallowChanges
from handler.mount.git import packs
from handler.mount.git.packs import NOT_A_PACK, RawObject, ReadRaw, forget_pages

_HEADER_BYTES, _TRAILER_BYTES = 12, 20
EMPTY_PACK_BYTES = _HEADER_BYTES + _TRAILER_BYTES
_PAGES_BYTES = 32 * 1024 * 1024
"""How much of a large pack stays mapped in while it is read from one end to the other."""

FRESH_BYTES = 32 * 1024 * 1024

Entry = tuple[bytes, int, int | None]
"""What an index holds of an object: binary id, offset, CRC-32 of its record."""


class PackSpool:
    """Where a fetch writes to: memory first, a file once it is large. Not safe for threads."""

    def __init__(self, max_bytes: int, make_file: Callable[[], tuple[BinaryIO, str]]) -> None:
        """`make_file` opens the large pack's file for reading and writing, and returns it with its name."""
        self._max_bytes = max_bytes
        self._make_file = make_file
        self.size = 0
        self.file: BinaryIO = io.BytesIO()
        self.name: str | None = None
        self.changes = ShallowChanges()
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
        # Hashed as it comes: a large pack is not read from end to end once more for it.
        content = self._tail + content
        self._digest.update(content[:-_TRAILER_BYTES])
        self._tail = content[-_TRAILER_BYTES:]

    def trailer(self) -> bytes | None:
        """Return the pack's own checksum, its last 20 bytes; None where it is wrong."""
        return self._tail if self._digest.digest() == self._tail else None

    def restart(self) -> None:
        """Forget what came: the try broke off, and the next one sends all of it again."""
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
        """Close the file; its bytes are on the server when this returns, or it raises OSError."""
        if self.name is not None:
            self.file.close()


@dataclass(frozen=True, slots=True)
class IndexedPack:
    """A complete pack, not yet shown: its trailer in hex (which names it) and its index's bytes."""

    trailer: str
    index: bytes
    object_count: int


def index_pack(spool: PackSpool, read_raw: ReadRaw, fresh: dict[bytes, RawObject]) -> IndexedPack | None:
    """Check the received pack, complete it in place, and make its index; None for a pack without objects.

    Every object is inflated and hashed, so that no id can lie. `read_raw` finds the bases of thin deltas. What is whole
    is put into `fresh` by its hex id, up to FRESH_BYTES: it need not be inflated and hashed again to be published.

    Raises PackInvalid for what is not a sound pack, and MirrorDamaged where a delta's base, which was claimed to be
    here, is not.
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
    """Return the index's entries of every object that the pack holds.

    An object that is whole is done when it was read once; only deltas, and what they build on, are read again.
    """
    whole: dict[int, tuple[bytes, int]] = {}
    entries: list[Entry] = []
    base_offsets: set[int] = set()
    base_ids: set[bytes] = set()
    room = FRESH_BYTES
    for unpacked in _read_through(data):
        assert unpacked.offset is not None
        if unpacked.pack_type_num == OFS_DELTA:
            assert isinstance(unpacked.delta_base, int)
            base_offsets.add(unpacked.offset - unpacked.delta_base)
            indexer.record(unpacked)
        elif unpacked.pack_type_num == REF_DELTA:
            assert isinstance(unpacked.delta_base, bytes)
            base_ids.add(unpacked.delta_base)
            indexer.record(unpacked)
        else:
            name = obj_sha(unpacked.pack_type_num, unpacked.decomp_chunks)
            whole[unpacked.offset] = (name, unpacked.pack_type_num)
            entries.append((name, unpacked.offset, unpacked.crc32))
            room -= sum(map(len, unpacked.decomp_chunks))
            if room > 0:
                fresh[name.hex().encode()] = (unpacked.pack_type_num, b"".join(unpacked.decomp_chunks))
    for offset, (name, kind) in whole.items():
        if offset in base_offsets or name in base_ids:
            base = UnpackedObject(kind)
            base.offset = offset
            indexer.record(base)
    indexer.set_pack_data(data)
    for number, (name, offset, checksum) in enumerate(indexer):
        if offset not in whole:
            entries.append((name, offset, checksum))
        if number % 1000 == 999:
            forget_pages(data)
    if len(entries) != len(data):
        raise PackInvalid("the pack does not hold what its header says")
    return entries


def _read_through(data: PackData) -> Iterator[UnpackedObject]:
    """Yield the pack's records in their order, each inflated, with offset and CRC-32."""
    contents: bytes | mmap.mmap = data._buffer()
    offset, forgotten = _HEADER_BYTES, 0
    for _ in range(len(data)):
        unpacked, offset = unpack_object_at(contents, offset, SHA1.hash_func, compute_crc32=True)
        yield unpacked
        if offset - forgotten > _PAGES_BYTES:
            forget_pages(data)
            forgotten = offset
