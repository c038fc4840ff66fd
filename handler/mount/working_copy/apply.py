"""Apply a pull to the worktree and the index, and find out how far a killed run came with it.

The objects are complete and the journal is written before this begins. Every step can be repeated.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from functools import partial

from handler.config.names import ancestors_of
from handler.model import Counts
from handler.mount.fs.checkout import ByteBudget
from handler.mount.fs.parallel import SEQUENTIAL, Workers, by_depth
from handler.mount.git.objects import BLOB, Objects
from handler.mount.git.tree import EXECUTABLE, LINK, SUBMODULE, TreeEntry
from handler.mount.working_copy.gitdir.staging_area import StagingArea
from handler.mount.working_copy.index.entry import NO_STAT, IndexEntry, Stat, tree_entry
from handler.mount.working_copy.index.index_file import IndexFile
from handler.mount.working_copy.local_changes import ChangeSet, IndexComparison, PathChange
from handler.mount.working_copy.parallel import Phase, run_phases
from handler.mount.working_copy.paths import CopyPaths
from handler.mount.working_copy.worktree import PathStatus, Worktree


class PathState(Enum):
    """How far a change has come."""

    BEFORE = auto()
    AFTER = auto()
    BETWEEN = auto()
    """The old submodule or file is gone and the new one is not there yet."""
    NEITHER = auto()
    """Somebody else has changed the path."""


def apply(
    worktree: Worktree,
    changes: ChangeSet,
    objects: Objects,
    check_time: Callable[[], None] = lambda: None,
    workers: Workers = SEQUENTIAL,
    *,
    skip_blocked: bool = False,
) -> tuple[dict[bytes, IndexEntry | None], Counts]:
    """Bring the worktree from `before` to `after`. Returns the index's new entries (None: remove it) by path.

    `check_time()` is called before each file; what it raises ends the run. With `skip_blocked` a file is skipped if
    somebody has put a file in the place of a directory, or the other way round.
    """
    files = _Files(changes, ByteBudget(partial(objects.read, kind=BLOB)), check_time, skip_blocked=skip_blocked)
    # New and changed files come before removals, so that readers miss nothing in between. Only what stands where a
    # directory or a file has to be is removed first.
    conflicts = _directory_file_conflicts(changes)
    gone = [change.path for change in changes.changes if change.after is None]
    gone_first = [each for each in changes.removed_directories if each in conflicts]
    gone_last = [each for each in changes.removed_directories if each not in conflicts]
    phases: list[Phase] = [
        (files.remove, [[path for path in gone if path in conflicts]]),
        (_remove_directories, by_depth(gone_first, deepest_first=True)),
        (files.make_directories, by_depth(changes.made_directories)),
        (files.check_out, [[change.path for change in changes.changes if change.after is not None]]),
        (files.remove, [[path for path in gone if path not in conflicts]]),
        (_remove_directories, by_depth(gone_last, deepest_first=True)),
    ]
    run_phases(worktree, phases, workers, is_writing=True, before_threads=files.budget.enforce)
    entries = files.entries
    # A reapplied change can remove a file for which the index has an entry, or the other way round.
    for change in changes.changes:
        entries.setdefault(change.path, _index_entry(change.index_after, None))
    return entries, Counts(len(files.written), len(files.removed), sum(files.written.values()))


class _Files:
    """The changes of a pull while they are applied, in any number of threads: each path belongs to one of them."""

    def __init__(
        self, changes: ChangeSet, budget: ByteBudget, check_time: Callable[[], None], *, skip_blocked: bool
    ) -> None:
        self.budget = budget
        self.entries: dict[bytes, IndexEntry | None] = {}
        self.written: dict[bytes, int] = {}
        """Bytes by path."""
        self.removed: set[bytes] = set()
        self._by_path = {change.path: change for change in changes.changes}
        self._check_time = check_time
        self._skipped = (NotADirectoryError, IsADirectoryError) if skip_blocked else ()

    def remove(self, worktree: Worktree, paths: Sequence[bytes]) -> None:
        for path in paths:
            self._check_time()
            if _remove(worktree, self._by_path[path]):
                self.removed.add(path)

    def check_out(self, worktree: Worktree, paths: Sequence[bytes]) -> None:
        for path in paths:
            self._check_time()
            with suppress(*self._skipped):
                self.entries[path] = _check_out(worktree, self._by_path[path], self.budget, self.written)

    def make_directories(self, worktree: Worktree, paths: Sequence[bytes]) -> None:
        for path in paths:
            with suppress(*self._skipped):
                _make_directory(worktree, path)


def _remove_directories(worktree: Worktree, directories: Sequence[bytes]) -> None:
    for directory in directories:
        worktree.remove_directory(directory)


def _directory_file_conflicts(changes: ChangeSet) -> Collection[bytes]:
    """Return the files that become directories, and the files and directories below what becomes a file."""
    written = {change.path for change in changes.changes if change.after is not None}
    made = set(changes.made_directories)
    gone = (*(change.path for change in changes.changes if change.after is None), *changes.removed_directories)
    return {
        path
        for path in gone
        if path in made or path in written or any(above in written for above in ancestors_of(path))
    }


def _make_directory(worktree: Worktree, directory: bytes) -> None:
    try:
        worktree.make_directory(directory)
    except FileNotFoundError:
        # Somebody removed a directory above it, with files that the pull does not change.
        _make_parents(worktree, directory)
        worktree.make_directory(directory)


def _make_parents(worktree: Worktree, path: bytes) -> None:
    for above in ancestors_of(path):
        worktree.make_directory(above)


def _check_out(
    worktree: Worktree, change: PathChange, budget: ByteBudget, written: dict[bytes, int]
) -> IndexEntry | None:
    """Write the file, link or submodule directory at a path; returns its index entry.

    `written` gets the number of bytes by path.
    """
    if change.after is None or change.after == change.before:
        return _index_entry(change.index_after, None)  # an uncommitted change that stays as it is
    mode, blob = change.after
    if mode == SUBMODULE:
        if change.before is not None:
            worktree.remove(change.path)  # removes a file, and leaves a directory
        _make_directory(worktree, change.path)
        return _index_entry(change.index_after, None)
    if change.before is not None and change.before.mode == SUBMODULE:
        worktree.remove_directory(change.path)
    with budget.borrow(blob) as content:
        try:
            status = _write(worktree, change.path, mode, content)
        except FileNotFoundError:
            # Somebody removed the directory, with files that the pull does not change.
            _make_parents(worktree, change.path)
            status = _write(worktree, change.path, mode, content)
        except IsADirectoryError:
            # It has no file in it, or it would have been an obstruction.
            worktree.remove_empty_tree(change.path)
            status = _write(worktree, change.path, mode, content)
        written[change.path] = len(content)
    return _index_entry(change.index_after, status if change.index_after == change.after else None)


def _write(worktree: Worktree, path: bytes, mode: int, content: bytes) -> os.stat_result:
    if mode == LINK:
        return worktree.write_link(path, content)
    return worktree.write_file(path, content, is_executable=mode == EXECUTABLE)


def _remove(worktree: Worktree, change: PathChange) -> bool:
    """Remove what is at a path; returns whether that was a file or link."""
    if change.before is None:
        return False
    if change.before.mode == SUBMODULE:
        worktree.remove_directory(change.path)  # stays if there is anything in it
        return False
    worktree.remove(change.path)
    return True


def _index_entry(entry: TreeEntry | None, status: os.stat_result | None) -> IndexEntry | None:
    """Return the index's entry. Without a status git reads the file to find out whether it is modified."""
    if entry is None:
        return None
    return IndexEntry(mode=entry.mode, id=entry.id, stat=NO_STAT if status is None else Stat.of(status))


def write_index(paths: CopyPaths, staging: StagingArea, content: bytes) -> None:
    """Replace the index."""
    staging.replace(paths.index, content, "index")


# -- recovery --------------------------------------------------------------------------------------------------------


def path_states(comparison: IndexComparison, changes: ChangeSet) -> dict[bytes, tuple[PathState, PathStatus]]:
    """Return how far each change has come, and the status of its path before its content was read."""
    known = {change.path for change in changes.changes}
    states = {}
    for change in changes.changes:
        status = comparison.worktree.lstat(change.path)
        states[change.path] = _path_state(comparison, change, known, status), status
    return states


def _path_state(
    comparison: IndexComparison, change: PathChange, known: Collection[bytes], status: PathStatus
) -> PathState:
    path, before, after = change.path, change.before, change.after
    was_submodule = before is not None and before.mode == SUBMODULE
    if after is None:
        # A directory in the place of a removed file belongs to the new tree or to somebody: it stays either way.
        is_gone = status.stat is None or (status.is_directory and not was_submodule)
        if is_gone or before is None:
            return PathState.AFTER
    elif status.blocker is not None and status.blocker not in known:
        return PathState.NEITHER
    elif comparison.matches(path, after, status):
        return PathState.AFTER
    elif status.stat is None:
        if before is None:
            return PathState.BEFORE
        return PathState.BETWEEN if was_submodule or after.mode == SUBMODULE else PathState.NEITHER
    elif status.is_directory and (before is None or was_submodule):
        # In the place of a new file: it may hold nothing but files that the pull removes.
        is_ours = all(each in known for each in comparison.worktree.list_files(path))
        return PathState.BEFORE if is_ours else PathState.NEITHER
    return PathState.BEFORE if before is not None and comparison.matches(path, before, status) else PathState.NEITHER


def index_entries(
    changes: ChangeSet, states: Mapping[bytes, tuple[PathState, PathStatus]]
) -> dict[bytes, IndexEntry | None]:
    """Return the index's entries for changes that are in the worktree already."""
    entries: dict[bytes, IndexEntry | None] = {}
    for change in changes.changes:
        entry = change.index_after
        is_file = entry is not None and entry == change.after and entry.mode != SUBMODULE
        # The status from before the content was compared: git then sees whatever somebody has changed since.
        entries[change.path] = _index_entry(entry, states[change.path][1].stat if is_file else None)
    return entries


def matches_index(index: IndexFile, changes: ChangeSet) -> bool:
    """Whether the index is the one that a run writes after all files."""
    entries = index.entries({change.path for change in changes.changes})
    return all(tree_entry(entries.get(change.path)) == change.index_after for change in changes.changes)
