"""Find the entries of an index file with one pass over its bytes. Pure.

This is the only work of a pull that grows with the tree. So no entry becomes an object: only paths and offsets are
kept. See git's `gitformat-index`.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final

from handler.errors import CopyUnusable
from handler.mount.working_copy.index.entry import (
    EXTENDED,
    FIXED_BYTES,
    INTENT_TO_ADD,
    NAME_MASK,
    SKIP_WORKTREE,
    STAGE_MASK,
)

HEADER: Final = struct.Struct(">4sII")
CHECKSUM_BYTES: Final = 20
CACHE_TREE: Final = b"TREE"
_EXTENSION: Final = struct.Struct(">4sI")
_MTIME_AND_FLAGS: Final = struct.Struct(">8xI48xH")
_SHORT: Final = struct.Struct(">H")
_REFUSED_EXTENSIONS: Final = {b"link": "is split (core.splitIndex)", b"sdir": "is sparse (index.sparse)"}


def damaged(what: str) -> CopyUnusable:
    """Return the error for a damaged index."""
    return CopyUnusable(f"the working copy's index is damaged: {what}")


def read_header(content: bytes) -> tuple[int, int]:
    """Return version and number of entries. Raises CopyUnusable if it is no index, or its checksum is wrong."""
    if len(content) < HEADER.size + CHECKSUM_BYTES:
        raise damaged("it is too short")
    signature, version, count = HEADER.unpack_from(content)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise CopyUnusable("the working copy's index is none that git2efs can read")
    checksum = content[-CHECKSUM_BYTES:]
    # All zeros: `index.skipHash`. A copy with sha256 ids fails here, as its checksum has 32 bytes.
    if any(checksum):
        digest = hashlib.sha1(memoryview(content)[:-CHECKSUM_BYTES], usedforsecurity=False).digest()
        if digest != checksum:
            raise damaged("its checksum is wrong")
    return version, count


def find_cache_tree(content: bytes, at: int) -> bytes:
    """Return the cache tree among the extensions, which start at an offset; empty if there is none.

    Raises CopyUnusable for an extension without which the index cannot be understood.
    """
    end = len(content) - CHECKSUM_BYTES
    cache_tree = b""
    while at < end:
        if end - at < _EXTENSION.size:
            raise damaged("it ends amid an extension")
        name, size = _EXTENSION.unpack_from(content, at)
        at += _EXTENSION.size + size
        if at > end:
            raise damaged("an extension runs over its end")
        if name in _REFUSED_EXTENSIONS:
            raise CopyUnusable(f"the working copy's index {_REFUSED_EXTENSIONS[name]}")
        if not b"A" <= name[:1] <= b"Z":
            raise CopyUnusable(f"the working copy's index has an extension that git2efs does not know ({name!r})")
        if name == CACHE_TREE:
            cache_tree = content[at - size : at]
    return cache_tree


@dataclass(slots=True, kw_only=True)
class Scan:
    """The entries of an index of version 2 or 3, in its order.

    The entry of `paths[n]` is from `offsets[n]` to `offsets[n + 1]`. `racy` are the offsets of entries whose file was
    last modified in the second in which the index was written, or later. `unmerged` are the paths with several stages,
    `intent_to_add` those that have no content yet.
    """

    paths: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    racy: list[int] = field(default_factory=list)
    unmerged: set[bytes] = field(default_factory=set)
    intent_to_add: set[bytes] = field(default_factory=set)
    is_extended: bool = False


def scan(content: bytes, count: int, written_at: int) -> Scan:
    """Return where the `count` entries are. `written_at` is the index file's mtime in whole seconds.

    Raises CopyUnusable if they exceed the file or are out of order.
    """
    found = Scan()
    try:
        at = _scan_entries(found, content, count, written_at)
    except struct.error:
        at = len(content)
    if at > len(content) - CHECKSUM_BYTES:
        raise damaged("its entries run over its end")
    return found


def _scan_entries(found: Scan, content: bytes, count: int, written_at: int) -> int:
    """Fill `found`; return where the entries end. Raises CopyUnusable, and struct.error at the end of `content`."""
    # The loop takes a quarter of a microsecond an entry: everything it calls is C, and rare cases are elsewhere.
    fixed, unpack_from, find_in = FIXED_BYTES, _MTIME_AND_FLAGS.unpack_from, content.find
    add_path, add_offset, add_racy = found.paths.append, found.offsets.append, found.racy.append
    at = HEADER.size
    previous = b""
    for _ in range(count):
        mtime, flags = unpack_from(content, at)
        start = at + fixed
        end = find_in(b"\0", start)
        if flags != end - start:
            # The flags are more than a length.
            start, end = _scan_flagged(found, content, at, flags, end)
        path = content[start:end]
        if path <= previous:
            _check_stages(found, content, at, path)
        if mtime >= written_at:
            add_racy(at)
        add_path(path)
        add_offset(at)
        previous = path
        at += (end - at + 8) & -8
    add_offset(at)
    return at


def _scan_flagged(found: Scan, content: bytes, at: int, flags: int, end: int) -> tuple[int, int]:
    """Return start and end of the path of an entry with flags, or with a very long path; record the flags."""
    start = at + FIXED_BYTES
    extended = 0
    if flags & EXTENDED:
        (extended,) = _SHORT.unpack_from(content, start)
        start += _SHORT.size
        end = content.find(b"\0", start)
        found.is_extended = True
    if end < 0 or min(end - start, NAME_MASK) != flags & NAME_MASK or extended & ~(INTENT_TO_ADD | SKIP_WORKTREE):
        raise damaged("an entry is not what git writes")
    if flags & STAGE_MASK:
        found.unmerged.add(content[start:end])
    if extended & INTENT_TO_ADD:
        found.intent_to_add.add(content[start:end])
    return start, end


def _check_stages(found: Scan, content: bytes, at: int, path: bytes) -> None:
    """Accept a path that repeats with a higher stage; raise CopyUnusable for any other that is out of order."""
    before = content[found.offsets[-1] + FIXED_BYTES - 2] & (STAGE_MASK >> 8) if found.offsets else 0
    if not path or path != found.paths[-1] or not 0 < before < content[at + FIXED_BYTES - 2] & (STAGE_MASK >> 8):
        raise damaged("its entries are out of order")
