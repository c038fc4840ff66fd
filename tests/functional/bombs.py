"""Packs that are small and make much: by their headers, by deltas, or by what has to stay in memory meanwhile."""

import itertools
import struct
import zlib
from collections.abc import Sequence

from tests.functional.packs import signed

MIB = 1024 * 1024
_BLOB, _ON_OFFSET = 3, 6
_MOST_COPIED = 0xFFFFFF


def record(kind: int, size: int, compressed: bytes, distance: int = 0) -> bytes:
    """Return a pack's record. `distance` is how far before it the record lies that a delta builds on."""
    head, rest = [kind << 4 | size & 15], size >> 4
    while rest:
        head[-1] |= 0x80
        head.append(rest & 0x7F)
        rest >>= 7
    return bytes(head) + (_distance(distance) if distance else b"") + compressed


def _distance(distance: int) -> bytes:
    digits = [distance & 0x7F]
    while distance := distance >> 7:
        distance -= 1
        digits.append(0x80 | distance & 0x7F)
    return bytes(reversed(digits))


def size_bytes(size: int) -> bytes:
    """Return a size as a delta begins with it."""
    digits = b""
    while size > 0x7F:
        digits += bytes([0x80 | size & 0x7F])
        size >>= 7
    return digits + bytes([size])


def delta(source: int, target: int, insert: bytes = b"") -> bytes:
    """Return a delta that repeats a source of `source` bytes until there are `target`, `insert` at their end."""
    operations, left = b"", target - len(insert)
    while left:
        count = min(left, source, _MOST_COPIED)
        operations += b"\xf0" + count.to_bytes(3, "little")
        left -= count
    operations += bytes([len(insert)]) + insert if insert else b""
    return size_bytes(source) + size_bytes(target) + operations


def zeros(size: int) -> bytes:
    """Return the zlib stream of a multiple of 16 MiB of zeros, without making them."""
    part = 16 * MIB
    assert size % part == 0
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compressor.compress(bytes(part)) + compressor.flush(zlib.Z_FULL_FLUSH)
    # Adler-32 of zeros: the first sum stays 1, the second counts the bytes.
    return b"\x78\xda" + block * (size // part) + b"\x03\0" + struct.pack(">L", size % 65521 << 16 | 1)


def pack(records: Sequence[bytes]) -> bytes:
    """Return the pack of these records."""
    return signed(b"PACK" + struct.pack(">LL", 2, len(records)) + b"".join(records))


def whole(content: bytes, kind: int = _BLOB) -> bytes:
    """Return the record of a whole object."""
    return record(kind, len(content), zlib.compress(content, 9))


def on_the_last(content: bytes, base: bytes) -> bytes:
    """Return the record of a delta that builds on the record just before it, which is `base`."""
    return record(_ON_OFFSET, len(content), zlib.compress(content, 9), len(base))


def chain(sizes: Sequence[int]) -> bytes:
    """Return a pack of one blob of `sizes[0]` zeros, and deltas that each make the next size from the last one."""
    records = [whole(bytes(sizes[0]))]
    for source, target in itertools.pairwise(sizes):
        records.append(on_the_last(delta(source, target), records[-1]))
    return pack(records)


def comb(size: int, levels: int) -> bytes:
    """Return a pack with a chain of deltas, each of `size` bytes, where each but the last has another delta upon it.

    Whoever follows the chain and keeps for later what the others build on keeps all of it.
    """
    records, offsets, at = [], [], 12
    first = whole(bytes(size))
    records.append(first)
    offsets.append(at)
    at += len(first)
    for level in range(levels):
        base = offsets[level]
        made = []
        for which in range(2):
            content = delta(size, size, b"%06d%d" % (level, which))
            each = record(_ON_OFFSET, len(content), zlib.compress(content, 9), at - base)
            made.append(at)
            records.append(each)
            at += len(each)
        offsets.append(made[level % 2])
    return pack(records)
