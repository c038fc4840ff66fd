"""How far a killed run came with each change, by what stands in the copy now. Touches nothing."""

from collections.abc import Collection, Mapping
from enum import Enum, auto

from handler.efs.worktree import Seen
from handler.git.index_entry import Entry
from handler.git.index_file import IndexFile
from handler.git.modes import SUBMODULE, Leaf
from handler.working_copy.carrying import index_entry
from handler.working_copy.changes import Change, Changes, Glance


class State(Enum):
    """How far a change has come."""

    BEFORE = auto()
    AFTER = auto()
    BETWEEN = auto()
    """What was there is gone, and what is to come is not there yet: so it is for a moment with submodules."""
    NEITHER = auto()
    """Somebody else was there meanwhile."""


def states_of(glance: Glance, changes: Changes) -> dict[bytes, tuple[State, Seen]]:
    """Return how far each change has come, and how its path looked before its content was read. Raises OSError."""
    known = {change.path for change in changes.changes}
    found = {}
    for change in changes.changes:
        seen = glance.worktree.look(change.path)
        found[change.path] = _state_of(glance, change, known, seen), seen
    return found


def _state_of(glance: Glance, change: Change, known: Collection[bytes], seen: Seen) -> State:
    path, before, after = change.path, change.before, change.after
    if after is None:
        # A directory in the place of a file that goes is the new tree's, or somebody's, and stays either way.
        is_gone = seen.status is None or (seen.is_directory and before is not None and before[0] != SUBMODULE)
        if is_gone or before is None:
            return State.AFTER
        return State.BEFORE if glance.matches(path, before, seen) else State.NEITHER
    if seen.blocker is not None and seen.blocker not in known:
        return State.NEITHER
    if glance.matches(path, after, seen):
        return State.AFTER
    if seen.status is None:
        if before is None:
            return State.BEFORE
        return State.BETWEEN if SUBMODULE in (before[0], after[0]) else State.NEITHER
    if seen.is_directory and (before is None or before[0] == SUBMODULE):
        # In the place of a file that is yet to come: it may only hold what goes.
        return State.BEFORE if all(each in known for each in glance.worktree.files_below(path)) else State.NEITHER
    return State.BEFORE if before is not None and glance.matches(path, before, seen) else State.NEITHER


def entries_of(changes: Changes, states: Mapping[bytes, tuple[State, Seen]]) -> dict[bytes, Entry | None]:
    """Return what the index is to have for changes whose files are done already.

    With the status from before the content was compared: of whoever changes it meanwhile git sees that.
    """
    entries: dict[bytes, Entry | None] = {}
    for change in changes.changes:
        is_it = change.entry == change.after and change.entry is not None and change.entry[0] != SUBMODULE
        entries[change.path] = index_entry(change.entry, states[change.path][1].status if is_it else None)
    return entries


def has_all(index: IndexFile, changes: Changes) -> bool:
    """Whether the index is the one that a killed run wrote when its files were done."""
    entries = index.find({change.path for change in changes.changes})
    return all(_leaf(entries.get(change.path)) == change.entry for change in changes.changes)


def _leaf(entry: Entry | None) -> Leaf | None:
    return None if entry is None else (entry.mode, entry.id)
