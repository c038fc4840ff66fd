"""Open packs, find objects in them, and resolve their deltas within a bound."""

import io
import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, Protocol

from dulwich.errors import ApplyDeltaError, ChecksumMismatch
from dulwich.object_format import SHA1
from dulwich.objects import RawObjectID
from dulwich.pack import Pack, PackData, PackFileDisappeared, PackIndex2, UnresolvedDeltas, load_pack_index_file

from handler.errors import MirrorDamaged
from handler.mount.fs.files import NOT_REGULAR, open_to_read, reader
from handler.mount.git.records import check_record, inflate, patch, record_at

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

_ID_BYTES = 20
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


def resolve(pack: Pack, offset: int, max_bytes: int) -> RawObject:
    """Return the object at `offset`. Raises ObjectTooLarge where it, or what it builds on, is over the bound.

    It holds one object and one delta of the chain at a time; dulwich's own holds every delta of it.
    """
    data = pack.data
    deltas: list[tuple[int, PackRecord]] = []
    contents = data._buffer()
    while (found := _cached(data, offset)) is None:
        record = record_at(contents, offset)
        check_record(record, max_bytes)
        if record.base is None:
            found = record.kind, inflate(contents, record, max_bytes)
            if deltas:
                # More deltas build on it, most likely, and the next paths are theirs.
                data._cache_object_at(offset, record.kind, [found[1]])
            break
        deltas.append((offset, record))
        if len(deltas) > len(data):
            raise ApplyDeltaError("a chain of deltas leads round in a circle")
        offset = record.base if isinstance(record.base, int) else offset_in(pack, RawObjectID(record.base))
    kind, content = found
    for at, record in reversed(deltas):
        content = patch(kind, content, inflate(contents, record, max_bytes), max_bytes)
        data._cache_object_at(at, kind, [content])
    return kind, content


def _cached(data: PackData, offset: int) -> RawObject | None:
    try:
        kind, content = data._get_cached_object_at(offset)
    except KeyError:
        return None
    return kind, b"".join(content)  # type: ignore[arg-type]
