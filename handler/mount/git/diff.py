"""The one walk of two trees: what stood at each path and what is to stand there. Pure.

A plan (see `plan_change`) says what a directory needs that certainly holds the old tree. A working copy belongs to
somebody: each path is compared with what stands there before anything is done.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from handler.errors import TreeUnsafe
from handler.mount.git import tree as trees
from handler.mount.git.tree import TreeEntry, file_of, parse_pairs, tree_of

Change = tuple[bytes, TreeEntry | None, TreeEntry | None]
"""A path, what the old tree has there, and what the new one has."""
Pairs = Mapping[bytes, tuple[int, bytes]]
"""A tree's entries, or what they are made of: mode and id."""
ListTree = Callable[[bytes, bytes], Pairs]
"""`list_tree(tree id, prefix)` returns a tree's entries; `prefix` is the tree's path with a final slash."""

_Level = tuple[bytes, Pairs, Pairs, Iterator[bytes]]
"""A directory under way: its path with a final slash, its entries in both trees, and the names that are left."""


def walk_changes(list_tree: ListTree, old: bytes | None, new: bytes | None, *, visits: int = 1) -> Iterator[Change]:
    """Yield each path at which two trees (hex ids; None: no tree) differ, a directory before what lies in it.

    Names of one directory come sorted. What both trees share is not read. Raises TreeUnsafe for a directory that lies
    too deep, and after `visits` times MAX_ENTRIES entries; and what `list_tree` raises.
    """
    room = visits * trees.MAX_ENTRIES

    def entries_of(tree: bytes | None, prefix: bytes) -> Pairs:
        nonlocal room
        entries: Pairs = {} if tree is None else list_tree(tree, prefix)
        # Counted at each visit: a tree of a few objects can name itself into billions of paths.
        room -= len(entries)
        if room < 0:
            raise TreeUnsafe(f"the tree has more than {trees.MAX_ENTRIES} entries")
        return entries

    def level(prefix: bytes, old: bytes | None, new: bytes | None) -> _Level:
        trees.check_depth(prefix)
        before, after = entries_of(old, prefix), entries_of(new, prefix)
        return prefix, before, after, iter(sorted({name for name, _ in before.items() ^ after.items()}))

    def walk() -> Iterator[Change]:
        # A stack, and no generator in a generator: each path would pass through all of them.
        levels = [level(b"", old, new)]
        while levels:
            prefix, before, after, names = levels[-1]
            for name in names:
                was, will = _entry_of(before, name), _entry_of(after, name)
                yield prefix + name, was, will
                was_tree, will_tree = tree_of(was), tree_of(will)
                if was_tree or will_tree:
                    levels.append(level(prefix + name + b"/", was_tree, will_tree))
                    break
            else:
                levels.pop()

    return iter(()) if old == new else walk()


def _entry_of(pairs: Pairs, name: bytes) -> TreeEntry | None:
    found = pairs.get(name)
    return None if found is None else TreeEntry(*found)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeDiff:
    """Each path that differs with its entries in the old and the new tree, sorted as git's index sorts paths.

    `trees` are the directories above these paths with the ids of their new trees; None: no directory in the new tree.
    The root is the empty path. `made` are the directories that only the new tree has, parents first, `gone` those that
    only the old one has, deepest first.
    """

    entries: dict[bytes, tuple[TreeEntry | None, TreeEntry | None]] = field(default_factory=dict)
    trees: dict[bytes, bytes | None] = field(default_factory=dict)
    made: tuple[bytes, ...] = ()
    gone: tuple[bytes, ...] = ()
    walked: tuple[Change, ...] = ()

    @property
    def new_trees(self) -> dict[bytes, bytes]:
        """The new trees of the directories above what differs."""
        return {directory: tree for directory, tree in self.trees.items() if tree is not None}


def diff_trees(read: Callable[[bytes], bytes], old: bytes | None, new: bytes | None) -> TreeDiff:
    """Return what turns the tree `old` into `new` (hex ids; None: nothing is there).

    `read(tree id)` returns a tree's content. Raises as `walk_changes`, and what `read` raises.
    """
    entries: dict[bytes, tuple[TreeEntry | None, TreeEntry | None]] = {}
    directories: dict[bytes, bytes | None] = {} if old == new else {b"": new}
    made, gone = [], []
    walked = tuple(walk_changes(lambda tree, prefix: parse_pairs(read(tree), prefix), old, new))
    for path, was, will in walked:
        was_tree, will_tree = tree_of(was), tree_of(will)
        if was_tree or will_tree:
            directories[path] = will_tree
            if was_tree is None:
                made.append(path)
            elif will_tree is None:
                gone.append(path)
        before, after = (file_of(entry) for entry in (was, will))
        if before or after:
            entries[path] = before, after
    return TreeDiff(
        entries=dict(sorted(entries.items())),
        trees=directories,
        made=tuple(sorted(made)),
        gone=tuple(sorted(gone, reverse=True)),
        walked=walked,
    )
