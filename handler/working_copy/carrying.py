"""Carry a pull out on disk: files, index, refs, in this order; and what a killed run left of it, to its end or back.

The objects are complete and the journal is written before this begins. Every step may be done again.
"""

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from handler.efs.worktree import Worktree
from handler.git.index_entry import Entry, Stat
from handler.git.index_file import IndexFile
from handler.git.modes import EXECUTABLE, LINK, SUBMODULE, Leaf
from handler.git.objects import BLOB, Objects
from handler.git.ref_logs import LogEntry
from handler.git.refs import Refs
from handler.git.scratch import Scratch
from handler.working_copy.changes import Change, Changes, Glance
from handler.working_copy.journal import Journal
from handler.working_copy.places import CopyPaths


@dataclass(slots=True)
class Done:
    """What was written and taken away; files are regular files and links."""

    files_written: int = 0
    files_removed: int = 0
    bytes_written: int = 0


class State(Enum):
    """How far a change has come."""

    BEFORE = auto()
    AFTER = auto()
    NEITHER = auto()
    """Somebody else was there meanwhile."""


def apply(
    worktree: Worktree, changes: Changes, objects: Objects, pulse: Callable[[], None] = lambda: None
) -> tuple[dict[bytes, Entry | None], Done]:
    """Bring the files from `before` to `after`; returns what the index is to have for each path. Raises OSError.

    What is new or changed comes first, what goes comes last, so that whoever reads meanwhile misses nothing; only what
    stands where a directory has to be, or in one that has to be a file, must go before. `pulse()` is called now and
    then; what it raises ends it.
    """
    done = Done()
    blocking = _blocking(changes)
    gone_early = [change for change in changes.changes if change.after is None and change.path in blocking]
    gone_late = [change for change in changes.changes if change.after is None and change.path not in blocking]
    for change in gone_early:
        _remove(worktree, change, done)
    early_directories = [directory for directory in changes.gone if directory in blocking]
    for directory in early_directories:
        worktree.remove_directory(directory)
    for directory in changes.made:
        _make_directory(worktree, directory)
    entries: dict[bytes, Entry | None] = {}
    for change in changes.changes:
        if change.after is not None:
            pulse()
            entries[change.path] = _put(worktree, change, change.after, objects, done)
    for change in gone_late:
        pulse()
        _remove(worktree, change, done)
    for directory in changes.gone:
        if directory not in blocking:
            worktree.remove_directory(directory)
    # What was carried over may stand where the index has something else, or nothing.
    entries |= {change.path: _entry(change.entry, None) for change in changes.changes if change.path not in entries}
    return entries, done


def _blocking(changes: Changes) -> Collection[bytes]:
    """Return the files that stand where directories will, and files and directories below what will be a file."""
    written = {change.path for change in changes.changes if change.after is not None}
    blocking = set()
    made = set(changes.made)
    for path in (*(change.path for change in changes.changes if change.after is None), *changes.gone):
        if path in made or path in written or any(above in written for above in _above(path)):
            blocking.add(path)
    return blocking


def _above(path: bytes) -> Iterator[bytes]:
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _make_directory(worktree: Worktree, directory: bytes) -> None:
    try:
        worktree.make_directory(directory)
    except FileNotFoundError:
        # Somebody removed one above it, with files that the pull does not touch.
        for above in _above(directory):
            worktree.make_directory(above)
        worktree.make_directory(directory)


def _put(worktree: Worktree, change: Change, after: Leaf, objects: Objects, done: Done) -> Entry | None:
    if change.after == change.before:
        return _entry(change.entry, None)  # an uncommitted change that stays as it is
    mode, blob = after
    if mode == SUBMODULE:
        _make_directory(worktree, change.path)
        return _entry(change.entry, None)
    if change.before is not None and change.before[0] == SUBMODULE:
        worktree.remove_directory(change.path)
    content = objects.read(blob, BLOB)
    try:
        status = _write(worktree, change.path, mode, content)
    except FileNotFoundError:
        # Somebody removed the directory, with files that the pull does not touch.
        for above in _above(change.path):
            worktree.make_directory(above)
        status = _write(worktree, change.path, mode, content)
    except IsADirectoryError:
        # One without a file in it, or it would have been in the way.
        worktree.remove_hollow(change.path)
        status = _write(worktree, change.path, mode, content)
    done.files_written += 1
    done.bytes_written += len(content)
    return _entry(change.entry, status if change.entry == after else None)


def _write(worktree: Worktree, path: bytes, mode: int, content: bytes) -> os.stat_result:
    if mode == LINK:
        return worktree.put_link(path, content)
    return worktree.put_file(path, content, is_executable=mode == EXECUTABLE)


def _remove(worktree: Worktree, change: Change, done: Done) -> None:
    if change.before is None:
        return
    if change.before[0] == SUBMODULE:
        worktree.remove_directory(change.path)  # where somebody has something in it, it stays
    else:
        worktree.remove(change.path)
        done.files_removed += 1


def _entry(leaf: Leaf | None, status: os.stat_result | None) -> Entry | None:
    """Return the index's entry. Without a status git reads the file before it believes that it is unchanged."""
    if leaf is None:
        return None
    return Entry(*leaf, Stat.of(status) if status is not None else Stat())


# -- index and refs --------------------------------------------------------------------------------------------------


def write_index(paths: CopyPaths, scratch: Scratch, content: bytes) -> None:
    """Put a new index in the place of the old one. Raises OSError."""
    scratch.replace(paths.index, content, "index")


def write_refs(refs: Refs, journal: Journal) -> None:
    """Say where the branch is now, and in the logs how it came there. Raises CopyBusy, CopyUnusable, OSError.

    The logs first, as git does it: of a killed run they may say more than is so, and the next one sees that it is
    written. The ref last: from then on all is done.
    """
    if journal.old is not None:
        refs.write_loose("ORIG_HEAD", f"{journal.old}\n".encode())
    by_log: dict[str, list[LogEntry]] = {}
    for log, old, new, message in journal.lines:
        entry = LogEntry(old.encode(), new.encode(), message.encode("utf-8", "surrogateescape"))
        by_log.setdefault(log, []).append(entry)
    for log, lines in by_log.items():
        if refs.log(log)[-len(lines) :] != lines:
            refs.append_log(log, lines, journal.committer.encode("utf-8", "surrogateescape"), journal.at)
    before = None if journal.old is None else journal.old.encode()
    refs.write(journal.branch, journal.new.encode(), {before, journal.new.encode()})


# -- after a kill ----------------------------------------------------------------------------------------------------


def states_of(glance: Glance, changes: Changes) -> dict[bytes, State]:
    """Return how far each change has come. Raises OSError."""
    known = {change.path for change in changes.changes}
    return {change.path: _state_of(glance, change, known) for change in changes.changes}


def _state_of(glance: Glance, change: Change, known: Collection[bytes]) -> State:
    path, seen = change.path, glance.worktree.look(change.path)
    # A directory in the place of a file that goes is the new tree's, or somebody's, and stays either way.
    is_gone = seen.status is None or seen.is_directory
    if is_gone if change.after is None else glance.matches(path, change.after, seen):
        return State.AFTER
    if change.before is not None:
        is_unseen = change.before[0] == SUBMODULE and seen.status is None
        return State.BEFORE if is_unseen or glance.matches(path, change.before, seen) else State.NEITHER
    if seen.is_directory:
        # In the place of a file that is yet to come: it may only hold what goes.
        return State.BEFORE if all(each in known for each in glance.worktree.files_below(path)) else State.NEITHER
    return State.BEFORE if seen.status is None else State.NEITHER


def entries_of(worktree: Worktree, changes: Changes) -> dict[bytes, Entry | None]:
    """Return what the index is to have for changes whose files are done already. Raises OSError."""
    entries: dict[bytes, Entry | None] = {}
    for change in changes.changes:
        seen = worktree.look(change.path)
        is_it = change.entry == change.after and change.entry is not None and change.entry[0] != SUBMODULE
        entries[change.path] = _entry(change.entry, seen.status if is_it else None)
    return entries


def has_all(index: IndexFile, changes: Changes) -> bool:
    """Whether the index is the one that a killed run wrote when its files were done."""
    entries = index.find({change.path for change in changes.changes})
    return all(_leaf(entries.get(change.path)) == change.entry for change in changes.changes)


def _leaf(entry: Entry | None) -> Leaf | None:
    return None if entry is None else (entry.mode, entry.id)
