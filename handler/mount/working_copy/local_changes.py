"""What a pull changes in the worktree, and which local changes obstruct it.

Only the paths that the pull changes are compared. If a path's stat data is what git's index recorded, its file is not
read.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from handler.config.names import ancestors_of
from handler.mount.fs.parallel import SEQUENTIAL, Workers
from handler.mount.git.diff import TreeDiff
from handler.mount.git.objects import BLOB, hash_object
from handler.mount.git.tree import EXECUTABLE, LINK, SUBMODULE, TreeEntry
from handler.mount.working_copy.index.entry import IndexEntry, Stat, tree_entry
from handler.mount.working_copy.index.index_file import IndexFile
from handler.mount.working_copy.parallel import run_phases
from handler.mount.working_copy.worktree import PathStatus, Worktree

_MAX_NAMED = 20
"""Paths that an error names."""


class LocalChange(NamedTuple):
    """An uncommitted change that a pull reapplies: the worktree's file, the file to write, and what is staged."""

    worktree: TreeEntry | None
    result: TreeEntry | None
    staged: TreeEntry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChange:
    """What a pull does at a path, in the worktree (`before`, `after`) and in the index; None is no file.

    `index_after` is not `after` if the pull reapplies an uncommitted change.
    """

    path: bytes
    before: TreeEntry | None
    after: TreeEntry | None
    index_before: TreeEntry | None
    index_after: TreeEntry | None

    def reversed(self) -> "PathChange":
        """Return the change that undoes this one."""
        return PathChange(
            path=self.path,
            before=self.after,
            after=self.before,
            index_before=self.index_after,
            index_after=self.index_before,
        )


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """All changes of a pull. The directories are in the order in which to make and to remove them."""

    changes: tuple[PathChange, ...]
    made_directories: tuple[bytes, ...] = ()
    removed_directories: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, difference: TreeDiff) -> "ChangeSet":
        """Return the changes from one commit's tree to another's, in a copy without local changes."""
        changes = tuple(
            PathChange(path=path, before=before, after=after, index_before=before, index_after=after)
            for path, (before, after) in difference.entries.items()
        )
        return cls(changes, difference.made, difference.gone)

    def only(self, paths: Collection[bytes]) -> "ChangeSet":
        """Return the changes at these paths, and all directories."""
        return replace(self, changes=tuple(change for change in self.changes if change.path in paths))

    def reversed(self) -> "ChangeSet":
        """Return the changes that undo these."""
        changes = tuple(change.reversed() for change in self.changes)
        return ChangeSet(changes, self.removed_directories[::-1], self.made_directories[::-1])

    def with_local_changes(self, local_changes: Mapping[bytes, LocalChange]) -> "ChangeSet":
        """Return these changes with the uncommitted ones, by path, reapplied."""
        if not local_changes:
            return self
        return replace(self, changes=tuple(_reapplied(each, local_changes.get(each.path)) for each in self.changes))


def _reapplied(change: PathChange, local: LocalChange | None) -> PathChange:
    if local is None:
        return change
    return replace(change, before=local.worktree, after=local.result, index_before=local.staged)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexComparison:
    """Compares paths of the worktree with blobs, by the stat data of the index where that is enough.

    `entries` are the index's entries at the paths that a pull changes. The flags are `core.fileMode` and
    `core.trustctime`.
    """

    worktree: Worktree
    index: IndexFile
    entries: Mapping[bytes, IndexEntry]
    trusts_filemode: bool
    trusts_ctime: bool

    @classmethod
    def of(
        cls,
        worktree: Worktree,
        index: IndexFile,
        changes: ChangeSet,
        *,
        trusts_filemode: bool,
        trusts_ctime: bool,
    ) -> "IndexComparison":
        """Return the comparison for the paths of `changes`. Raises CopyUnusable for an entry that is no file's."""
        # Also what may be a file above a new path.
        added = (change.path for change in changes.changes if change.before is None)
        paths = {change.path for change in changes.changes} | {above for path in added for above in ancestors_of(path)}
        return cls(
            worktree=worktree,
            index=index,
            entries=index.entries(paths),
            trusts_filemode=trusts_filemode,
            trusts_ctime=trusts_ctime,
        )

    def matches(self, path: bytes, expected: TreeEntry, status: PathStatus) -> bool:
        """Whether the worktree, with `status` at the path, has this file, link or submodule."""
        mode, blob = expected
        if mode == SUBMODULE:
            return status.is_directory  # what is in it belongs to the submodule
        if status.stat is None or not (status.is_link if mode == LINK else status.is_file):
            return False
        if mode != LINK and self.trusts_filemode and status.is_executable != (mode == EXECUTABLE):
            return False
        entry = self.entries.get(path)
        is_recorded = entry is not None and entry.id == blob
        if entry and is_recorded and entry.seems_unchanged(Stat.of(status.stat), trusts_ctime=self.trusts_ctime):
            return True
        return hash_object(BLOB, self.worktree.read(path, status)) == blob


@dataclass(frozen=True, slots=True)
class Obstruction:
    """A local change at `path` that obstructs `change`.

    `is_tracked`: autostash could reapply it. `kind` is for messages.
    """

    path: bytes
    change: PathChange
    is_tracked: bool
    kind: str


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """A local change that is what the pull brings. `entry` is what the index gets, with the file's stat data."""

    change: LocalChange
    entry: IndexEntry | None


@dataclass(frozen=True, slots=True)
class LocalFindings:
    """What obstructs a pull, and the paths where everything is as the pull brings it."""

    obstructions: tuple[Obstruction, ...]
    already_there: Mapping[bytes, AlreadyThere]

    @property
    def notes(self) -> tuple[str, ...]:
        """The outcome's note on what was there already."""
        count = len(self.already_there)
        return (f"{count} local changes are what the push brings",) if count else ()


def compare_with_local_changes(
    comparison: IndexComparison, changes: ChangeSet, workers: Workers = SEQUENTIAL
) -> LocalFindings:
    """Return the staged, uncommitted, untracked and ignored files that obstruct the changes, and those that do not."""
    by_path = {change.path: change for change in changes.changes}
    removed = {change.path for change in changes.changes if change.before is not None}
    found: dict[bytes, list[Obstruction]] = {}
    already: dict[bytes, AlreadyThere] = {}

    def compare(worktree: Worktree, paths: Sequence[bytes]) -> None:
        own = replace(comparison, worktree=worktree)
        for path in paths:
            change = by_path[path]
            found[path] = [*_in_index(own, change, removed), *_in_worktree(own, change, removed)]
            if found[path] and all(each.path == path for each in found[path]):
                there = _already_there(own, change)
                if there is not None:
                    already[path], found[path] = there, []

    run_phases(comparison.worktree, [(compare, [list(by_path)])], workers)
    return LocalFindings(tuple(each for path in by_path for each in found[path]), already)


def describe_obstructions(obstructions: Sequence[Obstruction]) -> str:
    """Name the obstructed paths, each once, up to a bound."""
    kinds = {each.path: each.kind for each in obstructions}
    named = [f"{path!r}"[1:] + f" ({kind})" for path, kind in list(kinds.items())[:_MAX_NAMED]]
    more = len(kinds) - len(named)
    return f"in the way: {', '.join(named)}" + (f", and {more} more" if more else "")


def _in_index(comparison: IndexComparison, change: PathChange, removed: Collection[bytes]) -> Iterator[Obstruction]:
    """Yield what is staged at the path."""
    entry = comparison.entries.get(change.path)
    if tree_entry(entry) != change.before or not _is_usual(entry):
        yield Obstruction(change.path, change, change.before is not None, "staged")
    elif change.before is None:
        # A directory/file conflict: the index has a file where the commit brings a directory, or the other way round.
        below = comparison.index.paths_below(change.path)
        for path in {*ancestors_of(change.path), *below} & comparison.entries.keys() | set(below):
            if path not in removed:
                yield Obstruction(path, change, False, "staged")


def _already_there(comparison: IndexComparison, change: PathChange) -> AlreadyThere | None:
    """Return the local change at the path if the pull brings the same, and nothing else is staged there; else None."""
    entry, after = comparison.entries.get(change.path), change.after
    staged = tree_entry(entry)
    if staged not in (change.before, after) or not _is_usual(entry):
        return None
    # The status from before the content is compared: git then sees whatever somebody changes from here on.
    status = comparison.worktree.lstat(change.path)
    if after is None:
        # A directory there is no file of the commit's, and stays.
        is_same, new = status.stat is None or status.is_directory, None
    else:
        is_same = after.mode != SUBMODULE and comparison.matches(change.path, after, status)
        new = IndexEntry(mode=after.mode, id=after.id, stat=Stat.of(status.stat)) if is_same and status.stat else None
    return AlreadyThere(LocalChange(after, after, staged), new) if is_same else None


def _is_usual(entry: IndexEntry | None) -> bool:
    """Whether an entry says what is staged, and git compares it with the file."""
    return entry is None or not (entry.is_intent_to_add or entry.is_skip_worktree)


def _in_worktree(comparison: IndexComparison, change: PathChange, removed: Collection[bytes]) -> Iterator[Obstruction]:
    """Yield what the worktree has at the path, and should not have."""
    status = comparison.worktree.lstat(change.path)
    becomes_file = change.after is not None and change.after.mode != SUBMODULE
    if change.before is not None:
        # A submodule that is not there is one that nobody has initialized.
        is_uninitialized = change.before.mode == SUBMODULE and status.stat is None and status.blocker is None
        if not comparison.matches(change.path, change.before, status) and not is_uninitialized:
            kind = "uncommitted" if status.stat is not None else "deleted, and not committed"
            yield Obstruction(change.path, change, True, kind)
        elif status.is_directory and becomes_file:
            yield from _untracked_below(comparison.worktree, change, removed)
    elif status.blocker is not None and status.blocker not in removed:
        yield Obstruction(status.blocker, change, False, "untracked")
    elif status.is_directory and becomes_file:
        yield from _untracked_below(comparison.worktree, change, removed)
    elif status.stat is not None and not status.is_directory:
        yield Obstruction(change.path, change, False, "untracked")


def _untracked_below(worktree: Worktree, change: PathChange, removed: Collection[bytes]) -> Iterator[Obstruction]:
    """Yield the files of a directory that is to become a file, but for those that the pull removes."""
    for path in worktree.list_files(change.path):
        if path not in removed:
            yield Obstruction(path, change, False, "untracked")
