"""A pack's records: what their headers say, and their contents, inflated within a bound.

A pack is hostile. Every size stands in a header before its content, so an object over the bound costs nothing: it is
not inflated, and no delta is applied that would make it. What is no record raises an error of `packs.NOT_A_PACK`.
"""

import hashlib
import mmap
import zlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from dulwich.errors import ApplyDeltaError
from dulwich.pack import OFS_DELTA, REF_DELTA, apply_delta

from handler.errors import ObjectTooLarge

TYPE_NAMES: Mapping[int, bytes] = MappingProxyType({1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"})
"""By the type number of a whole object."""

Contents = bytes | mmap.mmap
_BLOB = 3
_ID_BYTES = 20
_MAX_SHIFT = 63
_MAX_DELTA_HEAD = 20
"""The two sizes at a delta's start, each at most ten bytes."""
_INPUT_BYTES = 512
_STEP_BYTES = 64 * 1024


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


def patch(kind: int, base: bytes, delta: bytes, max_bytes: int) -> bytes:
    """Return what the delta makes of its base, an object of this type. Raises ObjectTooLarge before it makes it."""
    check_size(_target_size(delta), max_bytes)
    content = b"".join(apply_delta(base, delta))
    # As dulwich has it: parsers take an empty commit, tree or tag, which git calls damage.
    if not content and kind != _BLOB:
        raise ApplyDeltaError("a delta makes an empty object")
    return content
