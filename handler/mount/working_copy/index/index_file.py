"""Git's index: read with one scan, asked for a few paths, and written back with some of them changed. Pure.

A change joins the untouched ranges of bytes around the new entries; only what is asked for is taken apart.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from handler.errors import CopyUnusable
from handler.mount.working_copy.index.cache_tree import Listing, directories_above, root_tree, update_cache_tree
from handler.mount.working_copy.index.entry import SIZE_AT, IndexEntry, pack, unpack
from handler.mount.working_copy.index.scan import CACHE_TREE, HEADER, Scan, find_cache_tree, read_header, scan
from handler.mount.working_copy.index.version_4 import expand_v4


@dataclass(frozen=True, slots=True)
class IndexFile:
    """An index as it was read. Nothing of it changes: `patch` returns the bytes of a new one."""

    _content: bytes | bytearray
    _scan: Scan
    _written_at: int
    _cache_tree: bytes

    @classmethod
    def read(cls, content: bytes, written_at: int) -> Self:
        """Return an index. `written_at` is the file's own mtime when it was read, in whole seconds.

        Raises CopyUnusable where it is no index, damaged, or of a kind that cannot be changed alone (split, sparse).
        """
        version, count = read_header(content)
        if version == 4:
            content = expand_v4(content, count)
        found = scan(content, count, written_at)
        cache_tree = find_cache_tree(content, found.offsets[-1])
        return cls(_smudge_racy(content, found.racy), found, written_at, cache_tree)

    @classmethod
    def empty(cls) -> Self:
        """Return what a repository without an index file has."""
        return cls(HEADER.pack(b"DIRC", 2, 0), Scan(offsets=[HEADER.size]), 0, b"")

    @property
    def unmerged(self) -> tuple[bytes, ...]:
        """The paths of a merge half done."""
        return tuple(sorted(self._scan.unmerged))

    @property
    def tree(self) -> bytes | None:
        """The id (40 hex digits) of the tree that the whole index equals, where its cache tree knows that.

        If it is the tree of HEAD, nothing is staged. None says nothing.
        """
        is_whole = not self._scan.unmerged and not self._scan.intent_to_add
        return root_tree(self._cache_tree, len(self._scan.paths)) if is_whole else None

    def entries(self, paths: Collection[bytes]) -> dict[bytes, IndexEntry]:
        """Return the entries of those of the paths that are tracked; of an unmerged one the lowest stage.

        A racy one has the size 0, as it goes into the next index.

        Raises CopyUnusable where an entry is none of a file's.
        """
        found: dict[bytes, IndexEntry] = {}
        for path in paths:
            at = bisect_left(self._scan.paths, path)
            if self._scan.paths[at : at + 1] == [path]:
                entry = unpack(self._content, self._scan.offsets[at])
                found[path] = replace(entry, is_racy=True) if entry.stat.mtime_s >= self._written_at else entry
        return found

    def paths_below(self, directory: bytes) -> list[bytes]:
        """Return the tracked paths inside a directory, in order; the empty one is the whole copy."""
        paths = self._scan.paths
        if not directory:
            return list(paths)
        # What follows the slash in the byte order is "0": the first path beyond the directory.
        first = bisect_left(paths, directory + b"/")
        return paths[first : bisect_left(paths, directory + b"0", first)]

    def patch(self, changes: Mapping[bytes, IndexEntry | None], trees: Mapping[bytes, bytes] | None = None) -> bytes:
        """Return the bytes of this index with some entries replaced, added, or (None) removed.

        `trees` gives the trees (40 hex digits) of the commit that the copy is brought to, by directory (the root is
        empty), for the directories above the changes: one that the index then really equals is noted in its cache
        tree, for the others git does the work at its next commit.

        Raises CopyUnusable where a path would be a file and a directory at once, and TreeUnsafe for a path or a mode
        that no index can hold.
        """
        added = {path: entry for path, entry in changes.items() if entry}
        new = _replace_entries(self._content, self._scan, changes)
        _check_directory_file_conflicts(added, new.paths)
        excluded = (self._scan.intent_to_add | self._scan.unmerged) - changes.keys()
        excluded |= {path for path, entry in added.items() if entry.is_intent_to_add or entry.stage}
        listing = Listing(new.paths, new.offsets, self._content, new.added, excluded)
        cache_tree = update_cache_tree(self._cache_tree, directories_above(changes), trees or {}, listing)
        is_extended = self._scan.is_extended or any(entry.is_extended for entry in added.values())
        pieces: list[bytes | memoryview] = [HEADER.pack(b"DIRC", 3 if is_extended else 2, len(new.paths)), *new.pieces]
        # Of the extensions only the cache tree is kept. The others speak of entries by their numbers, or of what
        # git saw of the directories before this change (REUC, UNTR, FSMN, EOIE, IEOT): git makes them anew, and a
        # stale one could hide a change.
        if cache_tree:
            pieces += [CACHE_TREE, len(cache_tree).to_bytes(4), cache_tree]
        digest = hashlib.sha1(usedforsecurity=False)
        for piece in pieces:
            digest.update(piece)
        return b"".join([*pieces, digest.digest()])


def build(entries: Iterable[tuple[bytes, IndexEntry]], trees: Mapping[bytes, bytes] | None = None) -> bytes:
    """Return the bytes of a new index of these entries, in any order. `trees` and errors as in `IndexFile.patch`."""
    return IndexFile.empty().patch(dict(entries), trees)


@dataclass(slots=True)
class _NewEntries:
    """The entries after a change: `pieces` joined are their bytes, in order.

    Where each of `paths` stands is in `offsets`: in the index before, or (~offset) in `added`.
    """

    paths: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    pieces: list[bytes | memoryview] = field(default_factory=list)
    added: bytearray = field(default_factory=bytearray)


def _replace_entries(content: bytes | bytearray, old: Scan, changes: Mapping[bytes, IndexEntry | None]) -> _NewEntries:
    """Return the entries of `old` with the changes made. Raises TreeUnsafe."""
    new = _NewEntries()
    view = memoryview(content)
    number = 0
    for path in sorted(changes):
        first = bisect_left(old.paths, path, number)
        if first > number:
            new.paths += old.paths[number:first]
            new.offsets += old.offsets[number:first]
            new.pieces.append(view[old.offsets[number] : old.offsets[first]])
        entry = changes[path]
        if entry:
            packed = pack(path, entry)
            new.paths.append(path)
            new.offsets.append(~len(new.added))
            new.pieces.append(packed)
            new.added += packed
        # All stages of an unmerged path go.
        number = bisect_right(old.paths, path, first)
    new.paths += old.paths[number:]
    new.offsets += old.offsets[number:-1]
    new.pieces.append(view[old.offsets[number] : old.offsets[-1]])
    return new


def _smudge_racy(content: bytes, racy: list[int]) -> bytes | bytearray:
    """Return an index whose racy entries git will compare by content for as long as they stand.

    They look clean by their times, and may not be. Git knows that by the index not being younger than the file; the
    index that we write will be. So they get the size 0, as git marks them. Where the blob is empty that is its true
    size, and whatever the file was changed to has another.
    """
    if not racy:
        return content
    marked = bytearray(content)
    for at in racy:
        marked[at + SIZE_AT : at + SIZE_AT + 4] = bytes(4)
    return marked


def _check_directory_file_conflicts(added: Collection[bytes], paths: list[bytes]) -> None:
    """Raise CopyUnusable where one of the added paths is a directory too, or lies below a file."""
    for directory in directories_above(added):
        at = bisect_left(paths, directory)
        if directory and paths[at : at + 1] == [directory]:
            raise CopyUnusable(f"{directory!r} would be a file and a directory at once")
    for path in added:
        inside = path + b"/"
        at = bisect_left(paths, inside)
        if at < len(paths) and paths[at].startswith(inside):
            raise CopyUnusable(f"{path!r} would be a file and a directory at once")
