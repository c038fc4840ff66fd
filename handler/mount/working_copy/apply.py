"""Carry a pull out on disk: files, index, refs, in this order; and what a killed run left of it, to its end or back.

The objects are complete and the journal is written before this begins. Every step may be done again.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

from handler.config.names import ancestors_of
from handler.mount.fs.byte_budget import ByteBudget
from handler.mount.git.modes import EXECUTABLE, LINK, SUBMODULE, Leaf
from handler.mount.git.objects import BLOB, Objects
from handler.mount.working_copy.gitdir.staging_area import StagingArea
from handler.mount.working_copy.index.entry import IndexEntry, Stat
from handler.mount.working_copy.index.index_file import IndexFile
from handler.mount.working_copy.local_changes import ChangeSet, IndexComparison, PathChange
from handler.mount.working_copy.parallel import ALONE, Crew, Phase
from handler.mount.working_copy.paths import CopyPaths
from handler.mount.working_copy.worktree import PathStatus, Worktree


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What was written and taken away; files are regular files and links."""

    files_written: int = 0
    files_removed: int = 0
    bytes_written: int = 0


class PathState(Enum):
    """How far a change has come."""

    BEFORE = auto()
    AFTER = auto()
    BETWEEN = auto()
    """What was there is gone, and what is to come is not there yet: so it is for a moment with submodules."""
    NEITHER = auto()
    """Somebody else was there meanwhile."""


def apply(
    worktree: Worktree,
    changes: ChangeSet,
    objects: Objects,
    pulse: Callable[[], None] = lambda: None,
    crew: Crew = ALONE,
    *,
    leaves_blocked: bool = False,
) -> tuple[dict[bytes, IndexEntry | None], ApplyResult]:
    """Bring the files from `before` to `after`; returns what the index is to have for each path. Raises OSError.

    What is new or changed comes first, what goes comes last, so that whoever reads meanwhile misses nothing; only what
    stands where a directory has to be, or in one that has to be a file, must go before. `pulse()` is called now and
    then; what it raises ends it. With `leaves_blocked` a file is left out where somebody has put one in the place of a
    directory, or the other way round.
    """
    blocked = (NotADirectoryError, IsADirectoryError) if leaves_blocked else ()
    flow = ByteBudget(partial(objects.read, kind=BLOB))
    by_path = {change.path: change for change in changes.changes}
    entries: dict[bytes, IndexEntry | None] = {}
    written: dict[bytes, int] = {}
    removed: set[bytes] = set()

    def remove(own: Worktree, paths: Sequence[bytes]) -> None:
        for path in paths:
            pulse()
            if _remove(own, by_path[path]):
                removed.add(path)

    def put(own: Worktree, paths: Sequence[bytes]) -> None:
        for path in paths:
            pulse()
            with suppress(*blocked):
                entries[path] = _put(own, by_path[path], flow, written)

    def make_directories(own: Worktree, paths: Sequence[bytes]) -> None:
        for path in paths:
            with suppress(*blocked):
                _make_directory(own, path)

    blocking = _blocking(changes)
    gone = [change.path for change in changes.changes if change.after is None]
    phases: list[Phase] = [
        (remove, [[path for path in gone if path in blocking]]),
        (_remove_directories, _by_depth([each for each in changes.gone if each in blocking])[::-1]),
        (make_directories, _by_depth(changes.made)),
        (put, [[change.path for change in changes.changes if change.after is not None]]),
        (remove, [[path for path in gone if path not in blocking]]),
        (_remove_directories, _by_depth([each for each in changes.gone if each not in blocking])[::-1]),
    ]
    crew.carry_out(worktree, phases, is_writing=True, share=flow.share)
    # What was carried over may stand where the index has something else, or nothing.
    entries |= {path: _entry(change.entry, None) for path, change in by_path.items() if path not in entries}
    return entries, ApplyResult(len(written), len(removed), sum(written.values()))


def _by_depth(directories: Iterable[bytes]) -> list[list[bytes]]:
    """Part directories by their depth, parents first."""
    depths: defaultdict[int, list[bytes]] = defaultdict(list)
    for directory in directories:
        depths[directory.count(b"/")].append(directory)
    return [depths[depth] for depth in sorted(depths)]


def _remove_directories(worktree: Worktree, directories: Sequence[bytes]) -> None:
    for directory in directories:
        worktree.remove_directory(directory)


def _blocking(changes: ChangeSet) -> Collection[bytes]:
    """Return the files that stand where directories will, and files and directories below what will be a file."""
    written = {change.path for change in changes.changes if change.after is not None}
    blocking = set()
    made = set(changes.made)
    for path in (*(change.path for change in changes.changes if change.after is None), *changes.gone):
        if path in made or path in written or any(above in written for above in ancestors_of(path)):
            blocking.add(path)
    return blocking


def _make_directory(worktree: Worktree, directory: bytes) -> None:
    try:
        worktree.make_directory(directory)
    except FileNotFoundError:
        # Somebody removed one above it, with files that the pull does not touch.
        for above in ancestors_of(directory):
            worktree.make_directory(above)
        worktree.make_directory(directory)


def _put(worktree: Worktree, change: PathChange, flow: ByteBudget, written: dict[bytes, int]) -> IndexEntry | None:
    """Put what is to stand at a path; note in `written` how many bytes. Returns what the index is to have."""
    if change.after is None or change.after == change.before:
        return _entry(change.entry, None)  # an uncommitted change that stays as it is
    mode, blob = change.after
    if mode == SUBMODULE:
        if change.before is not None:
            worktree.remove(change.path)  # a file; a directory stays
        _make_directory(worktree, change.path)
        return _entry(change.entry, None)
    if change.before is not None and change.before[0] == SUBMODULE:
        worktree.remove_directory(change.path)
    with flow.content(blob) as content:
        try:
            status = _write(worktree, change.path, mode, content)
        except FileNotFoundError:
            # Somebody removed the directory, with files that the pull does not touch.
            for above in ancestors_of(change.path):
                worktree.make_directory(above)
            status = _write(worktree, change.path, mode, content)
        except IsADirectoryError:
            # One without a file in it, or it would have been in the way.
            worktree.remove_hollow(change.path)
            status = _write(worktree, change.path, mode, content)
        written[change.path] = len(content)
    return _entry(change.entry, status if change.entry == change.after else None)


def _write(worktree: Worktree, path: bytes, mode: int, content: bytes) -> os.stat_result:
    if mode == LINK:
        return worktree.put_link(path, content)
    return worktree.put_file(path, content, is_executable=mode == EXECUTABLE)


def _remove(worktree: Worktree, change: PathChange) -> bool:
    """Take away what stands at a path; returns whether that was a file or link."""
    if change.before is None:
        return False
    if change.before[0] == SUBMODULE:
        worktree.remove_directory(change.path)  # where somebody has something in it, it stays
        return False
    worktree.remove(change.path)
    return True


def _entry(leaf: Leaf | None, status: os.stat_result | None) -> IndexEntry | None:
    """Return the index's entry. Without a status git reads the file before it believes that it is unchanged."""
    if leaf is None:
        return None
    return IndexEntry(*leaf, Stat.of(status) if status is not None else Stat())


# -- index and refs --------------------------------------------------------------------------------------------------


def write_index(paths: CopyPaths, scratch: StagingArea, content: bytes) -> None:
    """Put a new index in the place of the old one. Raises OSError."""
    scratch.replace(paths.index, content, "index")


# -- after a kill ----------------------------------------------------------------------------------------------------


def states_of(glance: IndexComparison, changes: ChangeSet) -> dict[bytes, tuple[PathState, PathStatus]]:
    """Return how far each change has come, and how its path looked before its content was read. Raises OSError."""
    known = {change.path for change in changes.changes}
    found = {}
    for change in changes.changes:
        seen = glance.worktree.look(change.path)
        found[change.path] = _state_of(glance, change, known, seen), seen
    return found


def _state_of(glance: IndexComparison, change: PathChange, known: Collection[bytes], seen: PathStatus) -> PathState:
    path, before, after = change.path, change.before, change.after
    if after is None:
        # A directory in the place of a file that goes is the new tree's, or somebody's, and stays either way.
        is_gone = seen.status is None or (seen.is_directory and before is not None and before[0] != SUBMODULE)
        if is_gone or before is None:
            return PathState.AFTER
        return PathState.BEFORE if glance.matches(path, before, seen) else PathState.NEITHER
    if seen.blocker is not None and seen.blocker not in known:
        return PathState.NEITHER
    if glance.matches(path, after, seen):
        return PathState.AFTER
    if seen.status is None:
        if before is None:
            return PathState.BEFORE
        return PathState.BETWEEN if SUBMODULE in (before[0], after[0]) else PathState.NEITHER
    if seen.is_directory and (before is None or before[0] == SUBMODULE):
        # In the place of a file that is yet to come: it may only hold what goes.
        return (
            PathState.BEFORE if all(each in known for each in glance.worktree.files_below(path)) else PathState.NEITHER
        )
    return PathState.BEFORE if before is not None and glance.matches(path, before, seen) else PathState.NEITHER


def entries_of(
    changes: ChangeSet, states: Mapping[bytes, tuple[PathState, PathStatus]]
) -> dict[bytes, IndexEntry | None]:
    """Return what the index is to have for changes whose files are done already.

    With the status from before the content was compared: of whoever changes it meanwhile git sees that.
    """
    entries: dict[bytes, IndexEntry | None] = {}
    for change in changes.changes:
        is_it = change.entry == change.after and change.entry is not None and change.entry[0] != SUBMODULE
        entries[change.path] = _entry(change.entry, states[change.path][1].status if is_it else None)
    return entries


def has_all(index: IndexFile, changes: ChangeSet) -> bool:
    """Whether the index is the one that a killed run wrote when its files were done."""
    entries = index.find({change.path for change in changes.changes})
    return all(_leaf(entries.get(change.path)) == change.entry for change in changes.changes)


def _leaf(entry: IndexEntry | None) -> Leaf | None:
    return None if entry is None else (entry.mode, entry.id)
