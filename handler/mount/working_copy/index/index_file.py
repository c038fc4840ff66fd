"""Git's index: read with one scan, looked up for a few paths, and rewritten with some entries replaced. Pure.

A rewrite joins the unchanged ranges of bytes around the new entries. Only entries that are looked up are unpacked.
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
    """An index as it was read. It never changes: `patch` returns the bytes of a new one."""

    _content: bytes | bytearray
    _scan: Scan
    _written_at: int
    _cache_tree: bytes

    @classmethod
    def read(cls, content: bytes, written_at: int) -> Self:
        """Parse an index. `written_at` is the mtime of the file when it was read, in whole seconds.

        Raises CopyUnusable if it is no index, is damaged, or cannot be rewritten by itself (split, sparse).
        """
        version, count = read_header(content)
        if version == 4:
            content = expand_v4(content, count)
        found = scan(content, count, written_at)
        cache_tree = find_cache_tree(content, found.offsets[-1])
        return cls(_smudge_racy(content, found.racy), found, written_at, cache_tree)

    @classmethod
    def empty(cls) -> Self:
        """Return the index of a repository that has no index file."""
        return cls(HEADER.pack(b"DIRC", 2, 0), Scan(offsets=[HEADER.size]), 0, b"")

    @property
    def unmerged(self) -> tuple[bytes, ...]:
        """The unmerged paths, in order."""
        return tuple(sorted(self._scan.unmerged))

    @property
    def tree(self) -> bytes | None:
        """The id (40 hex digits) of the tree that the whole index equals, if its cache tree records that; else None.

        If it is the tree of HEAD, nothing is staged. None proves nothing.
        """
        is_whole = not self._scan.unmerged and not self._scan.intent_to_add
        return root_tree(self._cache_tree, len(self._scan.paths)) if is_whole else None

    def entries(self, paths: Collection[bytes]) -> dict[bytes, IndexEntry]:
        """Return the entries of those of the paths that are tracked; of an unmerged path the lowest stage.

        A racy entry has the size 0, as the next index will have it. Raises CopyUnusable for an entry that is not a
        file's.
        """
        found: dict[bytes, IndexEntry] = {}
        for path in paths:
            at = bisect_left(self._scan.paths, path)
            if self._scan.paths[at : at + 1] == [path]:
                entry = unpack(self._content, self._scan.offsets[at])
                found[path] = replace(entry, is_racy=True) if entry.stat.mtime_s >= self._written_at else entry
        return found

    def paths_below(self, directory: bytes) -> list[bytes]:
        """Return the tracked paths in a directory, in order; the empty directory is the whole copy."""
        paths = self._scan.paths
        if not directory:
            return list(paths)
        # "0" follows the slash in byte order: this is the first path beyond the directory.
        first = bisect_left(paths, directory + b"/")
        return paths[first : bisect_left(paths, directory + b"0", first)]

    def patch(self, changes: Mapping[bytes, IndexEntry | None], trees: Mapping[bytes, bytes] | None = None) -> bytes:
        """Return the bytes of this index with some entries replaced, added, or (None) removed.

        `trees` are the trees (40 hex digits) of the commit that is checked out, by directory (the root is empty), for
        the directories above the changes. A directory whose entries really make that tree gets a valid node in the
        cache tree; git recomputes the others at its next commit.

        Raises CopyUnusable if a path would be a file and a directory at once, TreeUnsafe for a path or mode that no
        index can have.
        """
        added = {path: entry for path, entry in changes.items() if entry}
        new = _replace_entries(self._content, self._scan, changes)
        _check_directory_file_conflicts(added, new.paths)
        excluded = (self._scan.intent_to_add | self._scan.unmerged) - changes.keys()
        excluded |= {path for path, entry in added.items() if entry.is_intent_to_add or entry.stage}
        listing = Listing(
            paths=new.paths, offsets=new.offsets, content=self._content, added=new.added, excluded=excluded
        )
        cache_tree = update_cache_tree(self._cache_tree, directories_above(changes), trees or {}, listing)
        is_extended = self._scan.is_extended or any(entry.is_extended for entry in added.values())
        pieces: list[bytes | memoryview] = [HEADER.pack(b"DIRC", 3 if is_extended else 2, len(new.paths)), *new.pieces]
        # Of the extensions only the cache tree is kept. The others refer to entries by number, or to what git saw of
        # the directories before this change (REUC, UNTR, FSMN, EOIE, IEOT). Git recreates them, and a stale one could
        # hide a change.
        if cache_tree:
            pieces += [CACHE_TREE, len(cache_tree).to_bytes(4), cache_tree]
        digest = hashlib.sha1(usedforsecurity=False)
        for piece in pieces:
            digest.update(piece)
        return b"".join([*pieces, digest.digest()])


def build(entries: Iterable[tuple[bytes, IndexEntry]], trees: Mapping[bytes, bytes] | None = None) -> bytes:
    """Return the bytes of a new index of these entries, in any order.

    `trees` and errors are those of `IndexFile.patch`.
    """
    return IndexFile.empty().patch(dict(entries), trees)


@dataclass(slots=True)
class _NewEntries:
    """The entries after a change. `pieces` joined are their bytes, in order.

    The entry of `paths[n]` is at `offsets[n]` of the index before, or at ~`offsets[n]` of `added`.
    """

    paths: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    pieces: list[bytes | memoryview] = field(default_factory=list)
    added: bytearray = field(default_factory=bytearray)


def _replace_entries(content: bytes | bytearray, old: Scan, changes: Mapping[bytes, IndexEntry | None]) -> _NewEntries:
    """Return the entries of `old` with the changes applied. Raises TreeUnsafe."""
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
        # All stages of an unmerged path are replaced.
        number = bisect_right(old.paths, path, first)
    new.paths += old.paths[number:]
    new.offsets += old.offsets[number:-1]
    new.pieces.append(view[old.offsets[number] : old.offsets[-1]])
    return new


def _smudge_racy(content: bytes, racy: list[int]) -> bytes | bytearray:
    """Return an index whose racy entries are smudged: git compares their contents as long as they stay in it.

    By their stat data they look unmodified, and may not be. Git sees that from the index's mtime, which is not later
    than the file's; the mtime of the index that we write will be later. So they get the size 0, as git's own smudged
    entries. An empty blob really has that size, and then a modified file has another one.
    """
    if not racy:
        return content
    marked = bytearray(content)
    for at in racy:
        marked[at + SIZE_AT : at + SIZE_AT + 4] = bytes(4)
    return marked


def _check_directory_file_conflicts(added: Collection[bytes], paths: list[bytes]) -> None:
    """Raise CopyUnusable if one of the added paths is a directory too, or is below a file."""
    for directory in directories_above(added):
        at = bisect_left(paths, directory)
        if directory and paths[at : at + 1] == [directory]:
            raise CopyUnusable(f"{directory!r} would be a file and a directory at once")
    for path in added:
        inside = path + b"/"
        at = bisect_left(paths, inside)
        if at < len(paths) and paths[at].startswith(inside):
            raise CopyUnusable(f"{path!r} would be a file and a directory at once")
