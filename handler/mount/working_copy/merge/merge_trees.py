"""Merge three trees, as git's `ort` strategy does when it picks a commit.

Only directories that differ in all three trees are read, and more only if a side renamed a file that the other side
modified. The tree of a clean merge is git's own, to the byte. Where git reports a conflict, so does this. Where this
cannot do what git does (merge a submodule, run a merge driver, compare more renames than the bound), it reports a
conflict too.
"""

from dataclasses import dataclass

from handler.mount.git.objects import TREE
from handler.mount.git.tree import TreeEntry, file_of, tree_of
from handler.mount.working_copy.merge.apply_renames import RenameApplier
from handler.mount.working_copy.merge.merge_entries import BASE, OURS, THEIRS, EntryMerger, Stages
from handler.mount.working_copy.merge.tree_draft import TreeDraft
from handler.mount.working_copy.merge.trees import TreeReader
from handler.mount.working_copy.overlay import MemoryOverlay

Three = tuple[bytes | None, bytes | None, bytes | None]
"""The trees of one directory in base, ours and theirs: ids of 40 hex digits, None if there is none."""


@dataclass(frozen=True, slots=True)
class TreeMerge:
    """The merged tree (40 hex digits), whose new objects are in the overlay, and the paths that conflict.

    With conflicts, `tree` means nothing.
    """

    tree: bytes
    conflicts: tuple[bytes, ...] = ()


def merge_trees(objects: MemoryOverlay, base: bytes | None, ours: bytes, theirs: bytes) -> TreeMerge:
    """Merge into `ours` what `theirs` changed from `base`: trees by their ids (40 hex digits); a base of None is empty.

    To pick a commit, merge its tree into the head's, with its parent's tree as the base. Raises TreeUnsafe for a
    malformed tree, MirrorDamaged for an object that is missing or broken.
    """
    if theirs in (base, ours):
        return TreeMerge(ours)
    if base == ours:
        return TreeMerge(theirs)
    merge = _Merge(objects, (base, ours, theirs))
    merge.walk(b"", merge.roots, merge.draft)
    merger = EntryMerger(objects, merge.trees, ours)
    conflicts = RenameApplier(objects, merge.trees, merger, merge.roots, merge.paths, merge.emptied).apply()
    for path, stages in merge.paths.items():
        is_clean, entry = merger.merge(path, *stages.entries)
        if not is_clean or stages.is_conflict:
            conflicts.add(path)
        merge.draft.put(merge.trees, path, entry)
    if conflicts:
        return TreeMerge(ours, tuple(sorted(conflicts)))
    tree, conflicting = merge.draft.write(merge.trees)
    return TreeMerge(tree or objects.add(TREE, b""), tuple(sorted(conflicting)))


class _Merge:
    def __init__(self, objects: MemoryOverlay, roots: Three) -> None:
        self.trees = TreeReader(objects)
        self.roots = roots
        self.draft = TreeDraft()
        self.paths: dict[bytes, Stages] = {}
        """The paths that are not the same in all three, but for those in directories that one side left alone."""
        self.emptied: tuple[set[bytes], set[bytes]] = set(), set()
        """Directories that ours (theirs) does not have any more while the other side added files there."""

    def walk(self, prefix: bytes, three: Three, draft: TreeDraft) -> None:
        """Merge a directory: entries that merge trivially go into `draft`, the others into `paths`."""
        base, ours, theirs = (self.trees.entries(tree, prefix) for tree in three)
        if base and len([tree for tree in three if tree is None]) == 1:
            self._note_emptied(prefix, three)
        for name in sorted(base.keys() | ours.keys() | theirs.keys()):
            entries = base.get(name), ours.get(name), theirs.get(name)
            files = [file_of(entry) for entry in entries]
            if any(files):
                if files[BASE] == files[OURS] == files[THEIRS]:
                    draft.files[name] = files[BASE]  # type: ignore[assignment]
                else:
                    self.paths[prefix + name] = Stages(files)
            trees = tree_of(entries[BASE]), tree_of(entries[OURS]), tree_of(entries[THEIRS])
            if any(trees):
                self._directory(prefix, name, trees, draft)

    def _directory(self, prefix: bytes, name: bytes, three: Three, draft: TreeDraft) -> None:
        base, ours, theirs = three
        taken = ours if base == theirs else theirs
        if base in (ours, theirs):
            if taken is not None:
                draft.directories[name] = taken
            return
        # Also if both sides made the same change: they may have renamed the same file differently.
        below = draft.directories[name] = TreeDraft()
        self.walk(prefix + name + b"/", three, below)

    def _note_emptied(self, prefix: bytes, three: Three) -> None:
        for side, other in ((OURS, THEIRS), (THEIRS, OURS)):
            if three[side] is None:
                base, there = self.trees.entries(three[BASE], prefix), self.trees.entries(three[other], prefix)
                if any(not tree_of(entry) and _is_new(base.get(name)) for name, entry in there.items()):
                    self.emptied[side - 1].add(prefix[:-1])


def _is_new(before: TreeEntry | None) -> bool:
    return before is None or tree_of(before) is not None
