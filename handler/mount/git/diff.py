"""What differs between two trees, entry by entry: what stood at each path and what is to stand there. Pure.

A plan (see `plan_change`) says what a directory needs that surely holds the old tree. A working copy is somebody's:
there each path is looked at, and compared with what it should be, before anything is done.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from handler.mount.git.modes import DIRECTORY, Leaf
from handler.mount.git.tree import Entries, parse_entries


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """Each differing path with what it was and what it is to be, sorted as git's index sorts paths.

    `trees` are the directories on the way to them with the ids that their new trees have; None: it is no directory in
    the new tree. The root is the empty path. `made` are the directories that only the new tree has, parents first,
    `gone` those that only the old one has, deepest first.
    """

    leaves: dict[bytes, tuple[Leaf | None, Leaf | None]] = field(default_factory=dict)
    trees: dict[bytes, bytes | None] = field(default_factory=dict)
    made: tuple[bytes, ...] = ()
    gone: tuple[bytes, ...] = ()

    @property
    def new_trees(self) -> dict[bytes, bytes]:
        """The trees of the directories on the way to what differs, as they are to be."""
        return {directory: tree for directory, tree in self.trees.items() if tree is not None}


def diff_trees(read: Callable[[bytes], bytes], old: bytes | None, new: bytes | None) -> TreeDiff:
    """Return what turns the tree `old` into `new` (hex ids; None: nothing is there).

    `read(tree id)` gives a tree's content; what both share is not read. Raises TreeUnsafe for a tree that is malformed,
    and what `read` raises.
    """
    found = _Found()
    _compare(read, b"", old, new, found)
    return TreeDiff(
        dict(sorted(found.leaves.items())), found.trees, tuple(sorted(found.made)), tuple(sorted(found.gone)[::-1])
    )


@dataclass(slots=True)
class _Found:
    leaves: dict[bytes, tuple[Leaf | None, Leaf | None]] = field(default_factory=dict)
    trees: dict[bytes, bytes | None] = field(default_factory=dict)
    made: list[bytes] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)


def _compare(
    read: Callable[[bytes], bytes], directory: bytes, old: bytes | None, new: bytes | None, found: "_Found"
) -> None:
    if old == new:
        return
    found.trees[directory] = new
    if directory and (old is None or new is None):
        (found.made if old is None else found.gone).append(directory)
    prefix = directory + b"/" if directory else b""
    before, after = _entries(read, old), _entries(read, new)
    for name in before.keys() | after.keys():
        was, will = before.get(name), after.get(name)
        if was == will:
            continue
        path = prefix + name
        trees = [each[1] if each is not None and each[0] == DIRECTORY else None for each in (was, will)]
        if any(trees):
            _compare(read, path, trees[0], trees[1], found)
        leaves = [each if each is not None and each[0] != DIRECTORY else None for each in (was, will)]
        if any(leaves):
            found.leaves[path] = (leaves[0], leaves[1])


def _entries(read: Callable[[bytes], bytes], tree: bytes | None) -> Entries:
    return {} if tree is None else parse_entries(read(tree))
