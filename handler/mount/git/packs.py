"""A pack's records: what their headers say, and their objects, inflated within a bound.

A pack is hostile. Every size stands in a header before its content, so an object over the bound costs nothing: it is
not inflated, and no delta is applied that would make it.
"""

import io
import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
    UnresolvedDeltas,
    apply_delta,
    load_pack_index_file,
    unpack_object_at,
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

Contents = bytes | mmap.mmap
_BLOB = 3
_ID_BYTES = 20
_MAX_SHIFT = 63
_MAX_DELTA_HEAD = 20
"""The two sizes at a delta's start, each at most ten bytes."""
_INPUT_BYTES = 512
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
        if shift > _MAX_SHIFT:
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
        if distance >> _MAX_SHIFT:
            raise ValueError("a delta's offset has too many bytes")
    return distance, at


def object_size(contents: Contents, record: PackRecord) -> int:
    """Return how many bytes the record's object has. Of a delta only the first bytes are inflated."""
    if record.base is None:
        return record.size
    inflater, head, at = zlib.decompressobj(), b"", record.start
    while len(head) < _MAX_DELTA_HEAD and not inflater.eof:
        # The header of a zlib stream may be longer than what a step feeds.
        step = inflater.unconsumed_tail or contents[at : at + _INPUT_BYTES]
        if not step:
            raise zlib.error("the pack ends within a delta")
        at += 0 if inflater.unconsumed_tail else len(step)
        head += inflater.decompress(step, _MAX_DELTA_HEAD - len(head))
    return _target_size(head)


def _target_size(delta: bytes) -> int:
    """Return the second of the two sizes at a delta's start: how many bytes it makes."""
    at = size = 0
    for _ in range(2):
        size = shift = 0
        while True:
            if at >= len(delta) or shift > _MAX_SHIFT:
                raise ApplyDeltaError("a delta's sizes cannot be read")
            byte = delta[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80:
                break
    return size


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


def inflate(contents: Contents, offset: int, record: PackRecord, max_bytes: int) -> bytes:
    """Return the inflated content of the record at `offset`. Raises ObjectTooLarge before it inflates anything."""
    check_record(record, max_bytes)
    unpacked, _ = unpack_object_at(contents, offset, SHA1.hash_func)
    return b"".join(unpacked.decomp_chunks)


def patch(kind: int, base: bytes, delta: bytes, max_bytes: int) -> bytes:
    """Return what the delta makes of its base, an object of this type. Raises ObjectTooLarge before it makes it."""
    check_size(_target_size(delta), max_bytes)
    content = b"".join(apply_delta(base, delta))
    # As dulwich has it: parsers take an empty commit, tree or tag, which git calls damage.
    if not content and kind != _BLOB:
        raise ApplyDeltaError("a delta makes an empty object")
    return content


def offset_in(pack: Pack, binary: RawObjectID) -> int:
    """Return where the pack's index says that an object is. Raises KeyError, and errors of `NOT_A_PACK`."""
    try:
        return pack.index.object_offset(binary)
    except TypeError:
        raise ValueError("the index leads beyond its own names") from None


def resolve(pack: Pack, offset: int, max_bytes: int) -> RawObject:
    """Return the object at `offset`. Raises ObjectTooLarge where it, or what it builds on, is over the bound.

    It holds one object and one delta of the chain at a time; dulwich's own holds every delta of it.
    """
    data, deltas = pack.data, []
    contents = data._buffer()
    while (found := _cached(data, offset)) is None:
        record = record_at(contents, offset)
        check_record(record, max_bytes)
        if record.base is None:
            found = record.kind, inflate(contents, offset, record, max_bytes)
            break
        deltas.append((offset, record))
        if len(deltas) > len(data):
            raise ApplyDeltaError("a chain of deltas leads round in a circle")
        offset = record.base if isinstance(record.base, int) else offset_in(pack, RawObjectID(record.base))
    kind, content = found
    for at, record in reversed(deltas):
        content = patch(kind, content, inflate(contents, at, record, max_bytes), max_bytes)
        data._cache_object_at(at, kind, [content])
    return kind, content


def _cached(data: PackData, offset: int) -> RawObject | None:
    try:
        kind, content = data._get_cached_object_at(offset)
    except KeyError:
        return None
    return kind, b"".join(content)  # type: ignore[arg-type]
