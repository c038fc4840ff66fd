"""One entry of git's index: a path's mode and blob, and the stat data that its file had when it was compared. Pure.

See git's documentation `gitformat-index`. Numbers are big-endian. An entry of version 2 or 3 is 62 bytes (64 with
extended flags), the path, and one to eight NULs up to the next multiple of eight.
"""

import struct
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

from handler.errors import CopyUnusable, TreeUnsafe
from handler.mount.git.tree import EXECUTABLE, FILE, LINK, SUBMODULE, TreeEntry

MODES: Final = frozenset((FILE, EXECUTABLE, LINK, SUBMODULE))

EMPTY_BLOB: Final = b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
NAME_MASK: Final = 0x0FFF
"""The bits of the path's length in the flags. A longer path has all of them set."""
STAGE_MASK: Final = 0x3000
EXTENDED: Final = 0x4000
ASSUME_VALID: Final = 0x8000
INTENT_TO_ADD: Final = 0x2000
SKIP_WORKTREE: Final = 0x4000
"""The last two are bits of the extended flags. Git knows no other bit there either."""

FIXED_BYTES: Final = 62
SIZE_AT: Final = 36
"""The offset of the file's size (four bytes) in an entry."""
ALL_32_BITS: Final = 0xFFFFFFFF
_FIXED: Final = struct.Struct(">10I20sH")
_SHORT: Final = struct.Struct(">H")


class StatResult(Protocol):
    """The fields of `os.stat_result` that are read."""

    @property
    def st_ctime_ns(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_dev(self) -> int: ...
    @property
    def st_ino(self) -> int: ...
    @property
    def st_uid(self) -> int: ...
    @property
    def st_gid(self) -> int: ...
    @property
    def st_size(self) -> int: ...


class Stat(NamedTuple):
    """A file's stat data as git records it: seconds and nanoseconds apart, every number cut to its low 32 bits."""

    ctime_s: int = 0
    ctime_ns: int = 0
    mtime_s: int = 0
    mtime_ns: int = 0
    dev: int = 0
    ino: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0

    @classmethod
    def of(cls, found: StatResult) -> "Stat":
        """Return what git would record of an `lstat`."""
        changed_s, changed_ns = divmod(found.st_ctime_ns, 10**9)
        modified_s, modified_ns = divmod(found.st_mtime_ns, 10**9)
        # Written out: a pull does this twice for each file.
        return cls(
            changed_s & ALL_32_BITS,
            changed_ns,
            modified_s & ALL_32_BITS,
            modified_ns,
            found.st_dev & ALL_32_BITS,
            found.st_ino & ALL_32_BITS,
            found.st_uid & ALL_32_BITS,
            found.st_gid & ALL_32_BITS,
            found.st_size & ALL_32_BITS,
        )

    def matches(self, other: "Stat", *, trusts_ctime: bool = True) -> bool:
        """Whether both are equal by all that git compares: everything but the device, which changes with every mount.

        A git that is built without nanoseconds compares less. So True here is true for git too, and False only means
        that the content has to be compared.
        """
        return (
            (self.mtime_s, self.mtime_ns, self.ino) == (other.mtime_s, other.mtime_ns, other.ino)
            and (self.uid, self.gid, self.size) == (other.uid, other.gid, other.size)
            and (not trusts_ctime or (self.ctime_s, self.ctime_ns) == (other.ctime_s, other.ctime_ns))
        )


NO_STAT: Final = Stat()
"""Stat data that no file has: git compares the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """What the index records for a path. `id` is 40 hex digits. `stage` is 0, or 1 to 3 in an unfinished merge.

    `is_racy` is not stored: the file was last modified in the second in which the index was written, or later, so that
    a later modification would not show in its stat data.
    """

    mode: int
    id: bytes
    stat: Stat = NO_STAT
    is_assume_valid: bool = False
    is_skip_worktree: bool = False
    """A sparse checkout's: the file is not in the worktree on purpose."""
    is_intent_to_add: bool = False
    """`git add --intent-to-add`: only the path is recorded, and no tree would have it."""
    stage: int = 0
    is_racy: bool = False

    def seems_unchanged(self, found: Stat, *, trusts_ctime: bool = True) -> bool:
        """Whether the stat data proves that the file has the content `id`. If not, compare the content.

        The caller compares the file's type and its executable bit.
        """
        if self.is_racy or self.is_intent_to_add or self.stage:
            return False
        if self.stat.size == 0 and self.id != EMPTY_BLOB:
            # Git smudges a racy entry so when it rewrites the index: compare the content.
            return False
        return self.stat.matches(found, trusts_ctime=trusts_ctime)

    @property
    def is_extended(self) -> bool:
        """Whether the entry needs an index of version 3."""
        return self.is_skip_worktree or self.is_intent_to_add


def tree_entry(entry: IndexEntry | None) -> TreeEntry | None:
    """Return an index entry as a tree has it; None for None."""
    return None if entry is None else TreeEntry(entry.mode, entry.id)


def pack(path: bytes, entry: IndexEntry) -> bytes:
    """Return the bytes of an entry of version 2 or 3, padding included.

    Raises TreeUnsafe for a path or a mode that no index can have.
    """
    if not path or b"\0" in path or entry.mode not in MODES:
        raise TreeUnsafe(f"{path!r} cannot stand in an index (mode {entry.mode:o})")
    stat = entry.stat
    flags = min(len(path), NAME_MASK) | entry.stage << 12
    flags |= ASSUME_VALID * entry.is_assume_valid | EXTENDED * entry.is_extended
    before = (stat.ctime_s, stat.ctime_ns, stat.mtime_s, stat.mtime_ns, stat.dev, stat.ino)
    after = (stat.uid, stat.gid, stat.size)
    packed = _FIXED.pack(*before, entry.mode, *after, bytes.fromhex(entry.id.decode()), flags)
    if entry.is_extended:
        packed += _SHORT.pack(SKIP_WORKTREE * entry.is_skip_worktree | INTENT_TO_ADD * entry.is_intent_to_add)
    return b"%b%b%b" % (packed, path, bytes(8 - (len(packed) + len(path)) % 8))


def unpack(content: bytes | bytearray, at: int) -> IndexEntry:
    """Return the entry at an offset. Raises CopyUnusable if its mode is not a file's."""
    numbers = _FIXED.unpack_from(content, at)
    mode, raw_id, flags = numbers[6], numbers[10], numbers[11]
    if mode not in MODES:
        raise CopyUnusable(f"the index holds an entry of an unknown kind (mode {mode:o})")
    entry = IndexEntry(
        mode=mode,
        id=raw_id.hex().encode(),
        stat=Stat(*numbers[:6], *numbers[7:10]),
        is_assume_valid=bool(flags & ASSUME_VALID),
        stage=(flags & STAGE_MASK) >> 12,
    )
    if not flags & EXTENDED:
        return entry
    (extended,) = _SHORT.unpack_from(content, at + FIXED_BYTES)
    is_skip_worktree, is_intent_to_add = bool(extended & SKIP_WORKTREE), bool(extended & INTENT_TO_ADD)
    return replace(entry, is_skip_worktree=is_skip_worktree, is_intent_to_add=is_intent_to_add)
