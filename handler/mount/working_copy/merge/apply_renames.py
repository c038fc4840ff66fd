"""Apply renames in a merge: what the other side did to a file follows the file to its new path."""

import stat

from handler.mount.git.tree import TreeEntry, file_of, tree_of
from handler.mount.working_copy.merge.merge_entries import BASE, OURS, THEIRS, EntryMerger, Stages
from handler.mount.working_copy.merge.renames import Renames, Side, directories_renamed, find_renames
from handler.mount.working_copy.merge.trees import TreeReader
from handler.mount.working_copy.overlay import MemoryOverlay


class RenameApplier:
    """Applies the renames of both sides of a merge."""

    def __init__(
        self,
        objects: MemoryOverlay,
        trees: TreeReader,
        merger: EntryMerger,
        roots: tuple[bytes | None, bytes | None, bytes | None],
        paths: dict[bytes, Stages],
        emptied: tuple[set[bytes], set[bytes]],
    ) -> None:
        """Take a merge's trees, its `paths`, which `apply` changes, and the directories that either side emptied."""
        self._objects = objects
        self._trees = trees
        self._merger = merger
        self._roots = roots
        self._paths = paths
        self._emptied = emptied

    def apply(self) -> set[bytes]:
        """Move entries from old paths to new ones; return the paths that conflict."""
        found = {side: self._renames(side) for side in (OURS, THEIRS)}
        conflicts = {path for renames in found.values() for path in renames.unknown}
        for side, renames in found.items():
            conflicts |= self._added_to_renamed_directories(side, renames)
        old_paths = sorted({path for renames in found.values() for path in renames.new_paths} & self._paths.keys())
        for old in old_paths:
            ours, theirs = found[OURS].new_paths.get(old), found[THEIRS].new_paths.get(old)
            if ours is not None and theirs is not None:
                self._renamed_by_both(old, ours, theirs)
            elif ours is not None:
                self._renamed_by_one(old, ours, OURS)
            elif theirs is not None:
                self._renamed_by_one(old, theirs, THEIRS)
        return conflicts

    # -- detection ---------------------------------------------------------------------------------------

    def _renames(self, number: int) -> Renames:
        """Return a side's renames. If none could matter, nothing more is read."""
        side = Side()
        for path, stages in self._paths.items():
            base, there = stages.entries[BASE], stages.entries[number]
            if base is not None and there is None and stages.entries[THEIRS + OURS - number] != base:
                side.relevant.add(path)
        emptied = tuple(directory + b"/" for directory in self._emptied[number - 1])
        if not side.relevant and not emptied:
            return Renames({})
        changes = self._trees.diff(self._roots[BASE], self._roots[number])
        # Git reads directories that the other side left alone last, and of equal targets it takes the first one read.
        for path, old, new in sorted(changes, key=lambda change: change[0] not in self._paths):
            if tree_of(old):
                side.removed_directories.add(path)
            elif old is not None and new is None:
                side.removed.append((path, old))
                if path.startswith(emptied):
                    side.relevant.add(path)
            elif old is None and new is not None:
                side.added.append((path, new))
        return find_renames(side, self._objects)

    def _added_to_renamed_directories(self, number: int, renames: Renames) -> set[bytes]:
        """Return the files that the other side added to directories that this side renamed.

        Git reports a conflict there: should they move along? (`merge.directoryRenames` is `conflict` by default.)
        """
        gone = self._emptied[number - 1]
        if not gone:
            return set()
        moved = directories_renamed(renames.new_paths.items(), gone)
        if any(path.startswith(tuple(directory + b"/" for directory in gone)) for path in renames.unknown):
            moved = gone
        other = THEIRS + OURS - number
        below = tuple(directory + b"/" for directory in moved)
        return {
            path
            for path, stages in self._paths.items()
            if path.startswith(below) and stages.entries[BASE] is None and stages.entries[other] is not None
        }

    # -- application -------------------------------------------------------------------------------------

    def _stages_at(self, path: bytes) -> Stages:
        """Return the stages of a path, also if the walk left out its directory."""
        stages = self._paths.get(path)
        if stages is None:
            found = [self._trees.find(root, path) for root in self._roots]
            stages = self._paths[path] = Stages([file_of(entry) for entry in found])
        return stages

    def _renamed_by_both(self, old: bytes, ours: bytes, theirs: bytes) -> None:
        """Apply a rename by both sides: it is clean if both chose the same path."""
        source = self._paths[old]
        if ours == theirs:
            self._stages_at(ours).entries[BASE] = source.entries[BASE]
        else:
            for path in (ours, theirs):
                self._stages_at(path).is_conflict = True
        source.entries = [None, None, None]

    def _renamed_by_one(self, old: bytes, new: bytes, number: int) -> None:
        """Apply a rename by one side (`number`) of a file that the other side left at its old path, or removed."""
        other = THEIRS + OURS - number
        source, target = self._paths[old], self._stages_at(new)
        base, left, moved = source.entries[BASE], source.entries[other], target.entries[number]
        is_taken = target.entries[other] is not None
        if left is None:
            # Renamed by one side, removed by the other.
            target.is_conflict = True
            source.entries = [None, None, None]
        elif moved is None or stat.S_IFMT(left.mode) != stat.S_IFMT(moved.mode):
            # The other side changed the file's type at its old path: that stays there, as if it were new.
            target.is_conflict |= not is_taken
            target.entries[BASE] = base
            source.entries[BASE] = None
        elif is_taken:
            # Renamed to a path that the other side added: merge first with what that side left at the old path, then
            # with the added file.
            three: list[TreeEntry | None] = [base, left, left]
            three[number] = moved
            is_clean, target.entries[number] = self._merger.merge(new, *three)
            target.is_conflict |= not is_clean
            source.entries = [None, None, None]
        else:
            target.entries[BASE], target.entries[other] = base, left
            source.entries = [None, None, None]
