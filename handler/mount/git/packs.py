"""Open a pack, and map what dulwich raises for one that is not sound."""

import hashlib
import io
import mmap
import os
import struct
import zlib
from typing import BinaryIO, Protocol

from dulwich.errors import ApplyDeltaError, ChecksumMismatch
from dulwich.object_format import SHA1
from dulwich.objects import RawObjectID
from dulwich.pack import (
    Pack,
    PackData,
    PackFileDisappeared,
    PackIndex,
    UnresolvedDeltas,
    load_pack_index_file,
    write_pack_index_v2,
)

from handler.errors import MirrorDamaged
from handler.mount.fs.files import open_to_read, read_all, reader

IN_MEMORY_BYTES = 8 * 1024 * 1024
"""A larger pack is received into a file on the mount."""
SMALL_BYTES = 256 * 1024
"""A pack up to this size is read whole, in one or two round trips, and indexed in memory. A larger pack is mapped and
its index is read: a push needs a few of its objects, and reading megabytes for them takes dozens of round trips."""
DELTA_CACHE_BYTES = 16 * 1024 * 1024
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
    UnresolvedDeltas,
    struct.error,
    zlib.error,
)
"""What dulwich raises for bytes that are no pack, or whose objects do not inflate."""

RawObject = tuple[int, bytes]
"""An object's type number (1 commit, 2 tree, 3 blob, 4 tag) and content."""


class PackVanished(MirrorDamaged):
    """A pack that was there is gone: somebody has repacked."""


def unreadable(error: Exception, what: str) -> MirrorDamaged:
    """Return our failure for an error of `NOT_A_PACK`; `what` names what cannot be read."""
    kind = PackVanished if isinstance(error, PackFileDisappeared) else MirrorDamaged
    return kind(f"{what} cannot be read ({type(error).__name__})")


class ReadRaw(Protocol):
    """Read an object by its id in hex or binary. Raises KeyError if it is missing."""

    def __call__(self, object_id: bytes, /) -> RawObject:
        """Return the object."""
        ...


def open_pack(path: str) -> Pack | None:
    """Open the pack at `<path>.pack` and `<path>.idx`; return None for a small one that is incomplete.

    Raises MirrorDamaged for what is no pack or no index.
    """
    with open_to_read(path + ".pack") as descriptor:
        is_small = os.fstat(descriptor).st_size <= SMALL_BYTES
        content = read_all(descriptor) if is_small else b""
    try:
        if not is_small:
            return Pack.from_lazy_objects(lambda: _map(path + ".pack"), lambda: _read_index(path + ".idx"))
        if hashlib.sha1(content[:-20], usedforsecurity=False).digest() != content[-20:]:
            return None
        data = PackData(path + ".pack", SHA1, file=io.BytesIO(content))
        index = io.BytesIO()
        write_pack_index_v2(index, sorted(data.iterentries()), content[-20:])
        return pack_of(io.BytesIO(content), index.getvalue(), path)
    except NOT_A_PACK as error:
        raise MirrorDamaged(f"a pack cannot be read ({type(error).__name__})") from None


def _read_index(path: str) -> PackIndex:
    with open_to_read(path) as descriptor:
        content = read_all(descriptor)
    try:
        return load_pack_index_file(path, io.BytesIO(content), SHA1)
    except NOT_A_PACK as error:
        raise MirrorDamaged(f"a pack's index cannot be read ({type(error).__name__})") from None


def pack_of(content: BinaryIO | None, index: bytes, path: str) -> Pack:
    """Return the pack at `path` from its index's bytes, and from `content`; None: map the pack's file."""
    if content is None:
        data = _map(path + ".pack")
    else:
        content.seek(0)
        data = PackData(path + ".pack", SHA1, file=content)
    return Pack.from_objects(data, load_pack_index_file(path + ".idx", io.BytesIO(index), SHA1))


def forget_pages(data: PackData) -> None:
    """Drop a mapped pack's pages from memory; they are read again when they are needed."""
    # A mapping that is read from one end to the other would count wholly as this process's memory.
    contents = data._buffer()
    if isinstance(contents, mmap.mmap):
        contents.madvise(mmap.MADV_DONTNEED)


def _map(path: str) -> PackData:
    with open_to_read(path) as descriptor, reader(descriptor) as file:
        # The mapping outlives its file.
        return PackData(path, SHA1, file=file, delta_base_cache_limit=DELTA_CACHE_BYTES)


def as_binary(object_id: bytes) -> RawObjectID:
    """Return a hex or binary id in binary."""
    return RawObjectID(bytes.fromhex(object_id.decode()) if len(object_id) == 40 else object_id)
