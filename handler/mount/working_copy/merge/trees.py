"""Trees as a merge reads and writes them."""

from collections.abc import Iterator

from handler.errors import TreeUnsafe
from handler.mount.git import tree as trees
from handler.mount.git.diff import Change, walk_changes
from handler.mount.git.objects import TREE, hash_object
from handler.mount.git.tree import Entries, TreeEntry, parse_entries, serialize_entries, tree_of
from handler.mount.working_copy.overlay import MemoryOverlay

_MOST_VISITS = 4
"""A merge looks at an entry in three trees, and once more where renames are looked for."""


class TreeReader:
    """The trees of an overlay: each is read once, and those that are written are not there yet."""

    def __init__(self, objects: MemoryOverlay) -> None:
        """Nothing is read yet."""
        self.objects = objects
        self._read: dict[bytes, Entries] = {}
        self._seen = 0

    def entries(self, tree: bytes | None, prefix: bytes = b"") -> Entries:
        """Return the entries of a tree (hex id; None is one without entries); not to be changed.

        Raises TreeUnsafe for one that is malformed or too deep, or where so many were read that it must be a trap;
        MirrorDamaged where it is missing.
        """
        if tree is None:
            return {}
        trees.check_depth(prefix)
        found = self._entries(tree)
        # Counted again each time: a tree of few objects can name itself into billions of paths.
        self._seen += len(found) + 1
        if self._seen > _MOST_VISITS * trees.MAX_ENTRIES:
            raise TreeUnsafe(f"the trees have more than {trees.MAX_ENTRIES} entries")
        return found

    def find(self, tree: bytes | None, path: bytes) -> TreeEntry | None:
        """Return what stands at a path; None for nothing. Raises as `entries`."""
        *parents, name = path.split(b"/")
        for parent in parents:
            tree = tree_of(self._entries(tree).get(parent)) if tree else None
        return self._entries(tree).get(name) if tree else None

    def _entries(self, tree: bytes) -> Entries:
        found = self._read.get(tree)
        if found is None:
            found = self._read[tree] = parse_entries(self.objects.read(tree, TREE))
        return found

    def diff(self, old: bytes | None, new: bytes | None) -> Iterator[Change]:
        """Yield each path at which two trees differ, names of one directory sorted, with both entries.

        A directory counts as no entry; it is yielded itself only where it is in `old` and not in `new`.
        """
        for path, one, two in walk_changes(self.entries, old, new, visits=_MOST_VISITS):
            one_tree, two_tree = tree_of(one), tree_of(two)
            if one_tree is not None and two_tree is None:
                yield path, one, None
            one_file = None if one_tree else one
            two_file = None if two_tree else two
            if one_file != two_file:
                yield path, one_file, two_file

    def write(self, entries: Entries) -> bytes:
        """Return the id of the tree with these entries, added to the overlay unless it was read from there."""
        content = serialize_entries(entries)
        tree = hash_object(TREE, content)
        return tree if tree in self._read else self.objects.add(TREE, content)
