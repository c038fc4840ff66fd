"""Packs: open them, find objects in them, read what their records' headers say, and inflate these within a bound.

A pack is hostile. Every size stands in a header before its content, so an object over the bound costs nothing: it is
not inflated, and no delta is applied that would make it.
"""

import hashlib
import io
import mmap
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, Protocol

from dulwich.errors import ApplyDeltaError, ChecksumMismatch
from dulwich.object_format import SHA1
from dulwich.objects import RawObjectID
from dulwich.pack import (
    OFS_DELTA,
    REF_DELTA,
    Pack,
    PackData,
    PackFileDisappeared,
    PackIndex2,
    UnresolvedDeltas,
    load_pack_index_file,
)

from handler.errors import MirrorDamaged, ObjectTooLarge
from handler.mount.fs.files import NOT_REGULAR, open_to_read, reader

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

TYPE_NAMES: Mapping[int, bytes] = MappingProxyType({1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"})
"""By the type number of a whole object."""
Contents = bytes | mmap.mmap
MAX_SHIFT = 63
"""A number in a pack has at most so many bits."""
_ID_BYTES = 20
_STEP_BYTES = 64 * 1024
_SCANNED_NAMES = 4096
"""So many names of an index are searched faster byte by byte, in C, than by halves, in Python."""
_IS_LARGE_OFFSET = 1 << 31
_OFFSET = struct.Struct(">L")
PAGES_BYTES = 32 * 1024 * 1024
"""How much of a mapped pack is read before `forget_pages` is called."""


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


def pack_of(content: BinaryIO | None, index: bytes, path: str) -> Pack:
    """Return the pack at `path` from its index's bytes, and from `content`; None: map the pack's file."""
    if content is None:
        data = map_pack(path + ".pack")
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


@contextmanager
def open_pack_file(path: str) -> Iterator[int]:
    """Open one of a pack's files. Raises MirrorDamaged for a link or a pipe in its place: a fresh fetch replaces it."""
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(open_to_read(path))
        except OSError as error:
            if error.errno not in NOT_REGULAR:
                raise
            raise MirrorDamaged("a pack's file is no regular file") from None
        yield descriptor


def map_pack(path: str) -> PackData:
    """Map the pack file at `path`."""
    with open_pack_file(path) as descriptor, reader(descriptor) as file:
        # The mapping outlives its file.
        return PackData(path, SHA1, file=file, delta_base_cache_limit=DELTA_CACHE_BYTES)


def as_binary(object_id: bytes) -> RawObjectID:
    """Return a hex or binary id in binary."""
    return RawObjectID(bytes.fromhex(object_id.decode()) if len(object_id) == 40 else object_id)


def offset_in(pack: Pack, binary: RawObjectID) -> int:
    """Return where the pack's index says that an object is. Raises KeyError, and errors of `NOT_A_PACK`."""
    try:
        offset = _scanned(pack.index, binary) if isinstance(pack.index, PackIndex2) else None
        return pack.index.object_offset(binary) if offset is None else offset
    except TypeError:
        raise ValueError("the index leads beyond its own names") from None


def _scanned(index: PackIndex2, binary: RawObjectID) -> int | None:
    """Return where the index says that an object is; None where dulwich has to look. Raises KeyError.

    A push asks for each of its new objects in every pack, so this is what it asks most.
    """
    contents, names, fan_out = index._contents, index._name_table_offset, index._fan_out_table
    first = binary[0]
    start, end = fan_out[first - 1] if first else 0, fan_out[first]
    if end - start > _SCANNED_NAMES or getattr(contents, "closed", False):
        return None
    begin, end = names + start * _ID_BYTES, names + end * _ID_BYTES
    at = contents.find(binary, begin, end)
    while at >= 0 and (at - names) % _ID_BYTES:  # the end of a name and the beginning of the next
        at = contents.find(binary, at + 1, end)
    if at < 0:
        raise KeyError(binary)
    (offset,) = _OFFSET.unpack_from(contents, index._pack_offset_table_offset + (at - names) // _ID_BYTES * 4)
    return None if offset & _IS_LARGE_OFFSET else int(offset)


class PackRecord(NamedTuple):
    """A record's header: type number, bytes of its inflated content, where that begins, and what it is a delta of.

    `base` is None for a whole object, an offset in the same pack, or a binary id.
    """

    kind: int
    size: int
    start: int
    base: int | bytes | None


def record_at(contents: Contents, offset: int) -> PackRecord:
    """Read the header of the record at `offset`. Raises IndexError, ValueError, ApplyDeltaError for none."""
    byte = contents[offset]
    kind, size, shift, start = byte >> 4 & 7, byte & 15, 4, offset + 1
    while byte & 0x80:
        if shift > MAX_SHIFT:
            raise ValueError("a record's size has too many bytes")
        byte = contents[start]
        size |= (byte & 0x7F) << shift
        shift, start = shift + 7, start + 1
    if kind == OFS_DELTA:
        distance, start = _distance(contents, start)
        if not 0 < distance < offset:
            raise ApplyDeltaError("a delta's base lies outside of its pack")
        return PackRecord(kind, size, start, offset - distance)
    if kind == REF_DELTA:
        base = bytes(contents[start : start + _ID_BYTES])
        return PackRecord(kind, size, start + _ID_BYTES, base)
    return PackRecord(kind, size, start, None)


def _distance(contents: Contents, at: int) -> tuple[int, int]:
    byte = contents[at]
    distance, at = byte & 0x7F, at + 1
    while byte & 0x80:
        byte = contents[at]
        distance, at = (distance + 1) << 7 | byte & 0x7F, at + 1
        if distance >> MAX_SHIFT:
            raise ValueError("a delta's offset has too many bytes")
    return distance, at


def check_size(size: int, max_bytes: int) -> None:
    """Raise ObjectTooLarge for an object of `size` bytes that is over the bound."""
    if size > max_bytes:
        raise ObjectTooLarge(
            f"an object has {size} bytes, and {max_bytes} are allowed (GIT2EFS_MAX_OBJECT_BYTES, or more memory)"
        )


def check_record(record: PackRecord, max_bytes: int) -> None:
    """Raise ObjectTooLarge for a record that is over the bound."""
    # Git makes no delta that is larger than half of its object. Together with base, result and copies, a delta of the
    # full size would take another third of memory.
    check_size(record.size, max_bytes if record.base is None else max_bytes // 2)


def inflate_parts(contents: Contents, record: PackRecord) -> tuple[list[bytes], int]:
    """Return the inflated content of a record, in parts, and the offset where the record ends.

    Check its size before. Raises zlib.error for a stream that is cut, damaged or of another size.
    """
    inflater, parts, at, left = zlib.decompressobj(), [], record.start, record.size
    # The first step is as long as a stream of that size may be: zlib copies all that it is given past the stream's end.
    step = min(record.size + (record.size >> 8) + 64, _STEP_BYTES)
    with memoryview(contents) as view:
        while not inflater.eof:
            piece = view[at : at + step]
            if not piece:
                raise zlib.error("the pack ends within a record")
            # One more than what is left, so that too many bytes are seen, and no more of them are made.
            part = inflater.decompress(piece, left + 1)
            left -= len(part)
            if left < 0 or inflater.unconsumed_tail:
                raise zlib.error("a record has more bytes than its header says")
            parts.append(part)
            at += len(piece)
            step = _STEP_BYTES
    if left:
        raise zlib.error("a record has fewer bytes than its header says")
    return parts, at - len(inflater.unused_data)


def checksum(contents: Contents, start: int, end: int) -> int:
    """Return the CRC-32 of a part of a pack, as an index has it for each record."""
    with memoryview(contents) as view:
        return zlib.crc32(view[start:end])


def object_id(kind: int, parts: Sequence[bytes]) -> bytes:
    """Return the binary id that an object of this type and content, in parts, has. Raises KeyError for no type."""
    digest = hashlib.sha1(b"%b %d\0" % (TYPE_NAMES[kind], sum(map(len, parts))), usedforsecurity=False)
    # Not joined: that would be the object twice in memory.
    for part in parts:
        digest.update(part)
    return digest.digest()


def inflate(contents: Contents, record: PackRecord, max_bytes: int) -> bytes:
    """Return the inflated content of a record. Raises ObjectTooLarge before it inflates anything."""
    check_record(record, max_bytes)
    parts, _ = inflate_parts(contents, record)
    return parts[0] if len(parts) == 1 else b"".join(parts)
