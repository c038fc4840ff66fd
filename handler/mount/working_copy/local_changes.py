"""What a pull does to each path of a working copy, and whether anything stands in the way.

Only the paths that the pull changes are looked at. One that is as git's index remembers it, by its clocks, its size and
its inode, is not read.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from handler.config.names import ancestors_of
from handler.mount.git.diff import TreeDiff
from handler.mount.git.modes import EXECUTABLE, LINK, SUBMODULE, Leaf
from handler.mount.git.objects import BLOB, hash_object
from handler.mount.working_copy.index.entry import IndexEntry, Stat
from handler.mount.working_copy.parallel import ALONE, Crew
from handler.mount.working_copy.worktree import PathStatus, Worktree

LocalChange = tuple[Leaf | None, Leaf | None, Leaf | None]
"""An uncommitted change that is carried over: what stands there, what is to stand there, and what the index had."""


_MAX_NAMED = 20
"""Paths that an error names."""


@dataclass(frozen=True, slots=True)
class PathChange:
    """What stands at a path, what is to stand there, and what the index is to have; None is nothing.

    `entry` is not `after` where an uncommitted change is carried over. `was_entry` is what the index has before.
    """

    path: bytes
    before: Leaf | None
    after: Leaf | None
    entry: Leaf | None
    was_entry: Leaf | None

    def reversed(self) -> "PathChange":
        """Return what undoes it."""
        return replace(self, before=self.after, after=self.before, entry=self.was_entry, was_entry=self.entry)


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """All that a pull does to files; `made` and `gone` are directories, in the order to do it."""

    changes: tuple[PathChange, ...]
    made: tuple[bytes, ...] = ()
    gone: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, differences: TreeDiff) -> "ChangeSet":
        """Return what brings a copy without any local change from one tree to the other."""
        changes = tuple(
            PathChange(path, before, after, after, before) for path, (before, after) in differences.leaves.items()
        )
        return cls(changes, differences.made, differences.gone)

    def only(self, paths: Collection[bytes]) -> "ChangeSet":
        """Return those at the paths."""
        return replace(self, changes=tuple(change for change in self.changes if change.path in paths))

    def reversed(self) -> "ChangeSet":
        """Return what undoes them."""
        return ChangeSet(tuple(change.reversed() for change in self.changes), self.gone[::-1], self.made[::-1])

    def with_kept(self, kept: Mapping[bytes, LocalChange]) -> "ChangeSet":
        """Return them with the uncommitted changes that are carried over."""
        if not kept:
            return self
        changes = []
        for change in self.changes:
            if change.path in kept:
                before, after, was_entry = kept[change.path]
                changes.append(replace(change, before=before, after=after, was_entry=was_entry))
            else:
                changes.append(change)
        return replace(self, changes=tuple(changes))


@dataclass(frozen=True, slots=True)
class IndexComparison:
    """How paths are compared: what the index knew of them, and what of that can be trusted."""

    worktree: Worktree
    entries: Mapping[bytes, IndexEntry]
    trusts_filemode: bool = True
    trusts_ctime: bool = True

    def matches(self, path: bytes, leaf: Leaf, seen: PathStatus) -> bool:
        """Whether what was seen at the path is this file, link or submodule. Raises OSError."""
        mode, blob = leaf
        if mode == SUBMODULE:
            return seen.is_directory  # what is in it is the submodule's own
        if seen.status is None or not (seen.is_link if mode == LINK else seen.is_file):
            return False
        if mode != LINK and self.trusts_filemode and seen.is_executable != (mode == EXECUTABLE):
            return False
        entry = self.entries.get(path)
        is_known = entry is not None and entry.id == blob
        if entry and is_known and entry.seems_unchanged(Stat.of(seen.status), trusts_ctime=self.trusts_ctime):
            return True
        return hash_object(BLOB, self.worktree.content(path, seen)) == blob


@dataclass(frozen=True, slots=True)
class Obstruction:
    """What keeps a change from being made. `is_tracked`: git knows the path, and autostash could carry it over."""

    path: bytes
    change: PathChange
    is_tracked: bool
    why: str


def find_obstructions(
    glance: IndexComparison, changes: ChangeSet, below: Callable[[bytes], Collection[bytes]], crew: Crew = ALONE
) -> list[Obstruction]:
    """Return what of the user's stands in the way of the changes: staged, uncommitted, untracked, ignored.

    `below(directory)` gives the paths that the index has in there. Raises OSError.
    """
    by_path = {change.path: change for change in changes.changes}
    removed = {change.path for change in changes.changes if change.before is not None}
    found: dict[bytes, list[Obstruction]] = {}

    def look(worktree: Worktree, paths: Sequence[bytes]) -> None:
        own = replace(glance, worktree=worktree)
        for path in paths:
            change = by_path[path]
            found[path] = [*_staged(own, change, removed, below), *_standing(own, change, removed)]

    crew.carry_out(glance.worktree, [(look, [list(by_path)])])
    return [each for path in by_path for each in found[path]]


def named(in_the_way: Sequence[Obstruction]) -> str:
    """Name what is in the way, each path once."""
    why = {found.path: found.why for found in in_the_way}
    named = [f"{path!r}"[1:] + f" ({reason})" for path, reason in list(why.items())[:_MAX_NAMED]]
    rest = len(why) - len(named)
    return f"in the way: {', '.join(named)}" + (f", and {rest} more" if rest else "")


def _staged(
    glance: IndexComparison, change: PathChange, removed: Collection[bytes], below: Callable[[bytes], Collection[bytes]]
) -> Iterator[Obstruction]:
    """Yield what the index has at the path, and the commit has not."""
    entry = glance.entries.get(change.path)
    staged = (entry.mode, entry.id) if entry is not None and not (entry.is_intended or entry.is_skipped) else None
    if staged != change.before or (entry is not None and staged is None):
        yield Obstruction(change.path, change, change.before is not None, "staged")
    elif change.before is None:
        # A file in the index where the commit brings a directory, or the other way round.
        around = {*ancestors_of(change.path), *below(change.path)}
        for path in around & glance.entries.keys() | set(below(change.path)):
            if path not in removed:
                yield Obstruction(path, change, False, "staged")


def _standing(glance: IndexComparison, change: PathChange, removed: Collection[bytes]) -> Iterator[Obstruction]:
    """Yield what stands at the path, and should not."""
    seen = glance.worktree.look(change.path)
    if change.before is not None:
        is_clean = glance.matches(change.path, change.before, seen)
        if change.before[0] == SUBMODULE and seen.status is None and seen.blocker is None:
            is_clean = True  # nobody has looked into it yet
        if not is_clean:
            why = "uncommitted" if seen.status is not None else "deleted, and not committed"
            yield Obstruction(change.path, change, True, why)
        elif seen.is_directory and change.after is not None and change.after[0] != SUBMODULE:
            yield from _strangers(glance.worktree, change, removed)
        return
    if seen.blocker is not None and seen.blocker not in removed:
        yield Obstruction(seen.blocker, change, False, "untracked")
    elif seen.is_directory and change.after is not None and change.after[0] != SUBMODULE:
        yield from _strangers(glance.worktree, change, removed)
    elif seen.status is not None and not seen.is_directory:
        yield Obstruction(change.path, change, False, "untracked")


def _strangers(worktree: Worktree, change: PathChange, removed: Collection[bytes]) -> Iterator[Obstruction]:
    """Yield what lies in a directory that is to become a file, and does not go with it."""
    for path in worktree.files_below(change.path):
        if path not in removed:
            yield Obstruction(path, change, False, "untracked")


def paths_to_find(changes: ChangeSet) -> set[bytes]:
    """Return the paths that the index is asked for: those that change, and what could be a file above a new one."""
    added = (change.path for change in changes.changes if change.before is None)
    return {change.path for change in changes.changes} | {above for path in added for above in ancestors_of(path)}
