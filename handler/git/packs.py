"""Packs: receiving one, checking it, and reading objects from those that the mirror has.

A pack is received into memory while it is small, else into a `tmp_` file in the mirror; each byte of it reaches the
mount once. It is indexed (which computes every object's id from its content), its thin deltas' bases are appended,
and only then it is shown: the index is renamed into place last, and a pack without one is not looked at.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from dulwich.errors import ApplyDeltaError, ChecksumMismatch
from dulwich.object_format import SHA1
from dulwich.objects import RawObjectID
from dulwich.pack import (
    Pack,
    PackData,
    PackFileDisappeared,
    PackIndexer,
    UnresolvedDeltas,
    extend_pack,
    load_pack_index_file,
    write_pack_index_v2,
)

from handler.errors import Git2EfsError, MirrorDamaged, PackInvalid, PackTooLarge

IN_MEMORY_BYTES = 8 * 1024 * 1024
"""A larger pack is received into a file on the mount, and mapped instead of read whole."""
_DELTA_CACHE_BYTES = 16 * 1024 * 1024
NOT_A_PACK = (
    ApplyDeltaError,
    AssertionError,
    ChecksumMismatch,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    ValueError,
    PackFileDisappeared,
    struct.error,
    zlib.error,
)
"""What dulwich raises for bytes that are no pack, or one whose objects do not inflate."""

RawObject = tuple[int, bytes]
"""An object's type number (1 commit, 2 tree, 3 blob, 4 tag) and content."""


class ReadRaw(Protocol):
    """Read an object by its id in hex or binary; raises KeyError where it is not there."""

    def __call__(self, object_id: bytes, /) -> RawObject:
        """Return the object."""
        ...


class PackSpool:
    """Where a fetch writes to: memory first, a file once it is large. Not safe for threads."""

    def __init__(self, max_bytes: int, make_file: Callable[[], tuple[BinaryIO, str]]) -> None:
        """`make_file` opens the large pack's file for reading and writing, and returns it with its name."""
        self._max_bytes = max_bytes
        self._make_file = make_file
        self.size = 0
        self.file: BinaryIO = io.BytesIO()
        self.name: str | None = None

    def write(self, content: bytes) -> None:
        """Append; raises PackTooLarge past the bound."""
        self.size += len(content)
        if self.size > self._max_bytes:
            raise PackTooLarge(f"the fetch brings more than {self._max_bytes} bytes")
        if self.name is None and self.size > IN_MEMORY_BYTES:
            file, self.name = self._make_file()
            file.write(self.file.getvalue())  # type: ignore[attr-defined]
            self.file = file
        self.file.write(content)

    def restart(self) -> None:
        """Forget what came: the try broke off, and the next one sends all of it again."""
        self.size = 0
        self.file.seek(0)
        self.file.truncate()

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


def index_pack(spool: PackSpool, read_raw: ReadRaw) -> IndexedPack | None:
    """Check the received pack, complete it in place, and make its index; None for a pack without objects.

    Every object is inflated and hashed, so that no id can lie. `read_raw` finds the bases of thin deltas.

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
            if data.calculate_checksum() != data.get_stored_checksum():
                raise PackInvalid("the pack's checksum is wrong")
            indexer = PackIndexer.for_pack_data(data, resolve_ext_ref=read_raw)
            entries = list(indexer)
            bases = indexer.ext_refs()
        finally:
            data.close()
    except UnresolvedDeltas:
        raise MirrorDamaged("the pack builds on objects that the mirror does not have") from None
    except Git2EfsError:
        raise
    except NOT_A_PACK as error:
        raise PackInvalid(f"the pack cannot be read ({type(error).__name__})") from None
    file.seek(0)
    trailer, appended = extend_pack(file, set(bases), get_raw=read_raw, object_format=SHA1)
    entries += appended
    entries.sort()
    index = io.BytesIO()
    write_pack_index_v2(index, entries, trailer)
    return IndexedPack(trailer.hex(), index.getvalue(), len(entries))


def received_pack(spool: PackSpool, indexed: IndexedPack, path: str) -> Pack:
    """Return the pack just received, for reading, without opening what is in memory again."""
    if spool.name is not None:
        return open_pack(path)
    spool.file.seek(0)
    data = PackData(path + ".pack", SHA1, file=spool.file)
    return Pack.from_objects(data, load_pack_index_file(path + ".idx", io.BytesIO(indexed.index), SHA1))


def open_pack(path: str) -> Pack:
    """Open `<path>.idx`; `<path>.pack` follows at the first read from it, a small one whole, a large one mapped.

    A cold start opens every index, and reads from few of the packs. Raises OSError, and MirrorDamaged for no index.
    """
    try:
        index = load_pack_index_file(path + ".idx", io.BytesIO(_content(path + ".idx")), SHA1)
    except NOT_A_PACK as error:
        raise MirrorDamaged(f"a pack's index cannot be read ({type(error).__name__})") from None
    return Pack.from_lazy_objects(lambda: _open_data(path + ".pack"), lambda: index)


def _open_data(path: str) -> PackData:
    if os.stat(path).st_size > IN_MEMORY_BYTES:
        return PackData(path, SHA1, delta_base_cache_limit=_DELTA_CACHE_BYTES)
    return PackData(path, SHA1, file=io.BytesIO(_content(path)))


def _content(path: str) -> bytes:
    """Read a file without the extra look-ups that `open` does; each would be asked over the network."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, IN_MEMORY_BYTES):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def as_binary(object_id: bytes) -> RawObjectID:
    """Return a hex or binary id in binary."""
    return RawObjectID(bytes.fromhex(object_id.decode()) if len(object_id) == 40 else object_id)
