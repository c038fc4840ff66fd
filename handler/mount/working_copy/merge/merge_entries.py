"""Merge one path, of which base, ours and theirs are known."""

import stat
from dataclasses import dataclass, field

from handler.mount.git.objects import BLOB
from handler.mount.git.tree import TreeEntry
from handler.mount.working_copy.merge.attributes import Attributes
from handler.mount.working_copy.merge.contents import MAX_WORK, is_binary, merge_contents
from handler.mount.working_copy.merge.trees import TreeReader
from handler.mount.working_copy.merge.work_budget import WorkBudget
from handler.mount.working_copy.overlay import MemoryOverlay

BASE, OURS, THEIRS = 0, 1, 2
_EMPTY_MODE = 0


@dataclass(slots=True)
class Stages:
    """A path's entries (never directories) in base, ours and theirs. Renames move them from path to path.

    `is_conflict`: the path conflicts, whatever the entries say.
    """

    entries: list[TreeEntry | None] = field(default_factory=lambda: [None, None, None])
    is_conflict: bool = False


class EntryMerger:
    """Merges entries. New contents go into the overlay."""

    def __init__(self, objects: MemoryOverlay, trees: TreeReader, ours: bytes) -> None:
        """Merge into the tree `ours`, whose `.gitattributes` count."""
        self._objects = objects
        self._trees = trees
        self._ours = ours
        self._budget = WorkBudget(2 * MAX_WORK)  # for all files together: a repository decides how many there are
        self._attributes = Attributes(self._read_attributes)

    def merge(
        self, path: bytes, base: TreeEntry | None, ours: TreeEntry | None, theirs: TreeEntry | None
    ) -> tuple[bool, TreeEntry | None]:
        """Return whether the path merges, and into what: None if nothing is left of it."""
        if theirs in (base, ours):
            return True, ours
        if base == ours:
            return True, theirs
        if ours is None or theirs is None or stat.S_IFMT(ours.mode) != stat.S_IFMT(theirs.mode):
            return False, ours  # modified on one side and removed on the other, or of different types
        mode = _merge_modes(base.mode if base else _EMPTY_MODE, ours.mode, theirs.mode)
        content = self._merge_blobs(path, base, ours, theirs)
        return mode is not None and content is not None, TreeEntry(mode or ours.mode, content or ours.id)

    def _merge_blobs(self, path: bytes, base: TreeEntry | None, ours: TreeEntry, theirs: TreeEntry) -> bytes | None:
        base_id = base.id if base else None
        if ours.id in (theirs.id, base_id):
            return theirs.id
        if theirs.id == base_id:
            return ours.id
        if not ours.is_file or not self._attributes.is_merged_by_lines(path):
            return None
        # Without a common ancestor of the same type git merges with an empty base.
        before = self._objects.read(base.id, BLOB) if base and base.is_file else b""
        one, two = self._objects.read(ours.id, BLOB), self._objects.read(theirs.id, BLOB)
        if not (base and base.is_file) and is_binary(one, two):
            return None  # there is no ancestor that a side could have left alone
        merged = merge_contents(before, one, two, self._budget)
        if merged is None:
            return None
        known = {before: base_id, one: ours.id, two: theirs.id}.get(merged)
        return known or self._objects.add(BLOB, merged)

    def _read_attributes(self, path: bytes) -> bytes | None:
        entry = self._trees.find(self._ours, path)
        return self._objects.read(entry.id, BLOB) if entry is not None and entry.is_file else None


def _merge_modes(base: int, ours: int, theirs: int) -> int | None:
    if ours in (theirs, base):
        return theirs
    return ours if theirs == base else None
