"""Packs as they lie in the mirror: opening one, and what dulwich raises where it is not sound."""

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
    load_pack_index_file,
)

from handler.errors import MirrorDamaged

IN_MEMORY_BYTES = 8 * 1024 * 1024
"""A larger pack is received into a file on the mount."""
_READ_WHOLE_BYTES = 512 * 1024
"""A larger pack is mapped: a push needs a few objects of it, and reading megabytes for them takes dozens of round
trips. Below, one or two bring all of it."""
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


def open_pack(path: str) -> Pack:
    """Open `<path>.idx`; `<path>.pack` follows at the first read from it, a small one whole, a large one mapped.

    A cold start opens every index, and reads from few of the packs. Raises OSError, and MirrorDamaged for no index.
    """
    try:
        index = load_pack_index_file(path + ".idx", io.BytesIO(_content(path + ".idx")), SHA1)
    except NOT_A_PACK as error:
        raise MirrorDamaged(f"a pack's index cannot be read ({type(error).__name__})") from None
    return Pack.from_lazy_objects(lambda: _open_data(path + ".pack"), lambda: index)


def pack_of(content: BinaryIO | None, index: bytes, path: str) -> Pack:
    """Return the pack at `path` whose index's bytes are here already, and its own too unless `content` is None."""
    if content is None:
        data = _open_data(path + ".pack")
    else:
        content.seek(0)
        data = PackData(path + ".pack", SHA1, file=content)
    return Pack.from_objects(data, load_pack_index_file(path + ".idx", io.BytesIO(index), SHA1))


def forget_pages(data: PackData) -> None:
    """Let go of what a mapped pack holds in memory; it is read again where it is needed.

    A mapping that is read from one end to the other would else count wholly as this process's memory.
    """
    contents = data._buffer()
    if isinstance(contents, mmap.mmap):
        contents.madvise(mmap.MADV_DONTNEED)


def _open_data(path: str) -> PackData:
    if os.stat(path).st_size > _READ_WHOLE_BYTES:
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
