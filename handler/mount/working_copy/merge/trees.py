"""Read and write trees for a merge."""

from collections.abc import Iterator

from handler.errors import TreeUnsafe
from handler.mount.git import tree as trees
from handler.mount.git.diff import Change, walk_changes
from handler.mount.git.objects import TREE, hash_object
from handler.mount.git.tree import Entries, TreeEntry, file_of, parse_entries, serialize_entries, tree_of
from handler.mount.working_copy.overlay import MemoryOverlay

_MAX_VISITS = 4
"""A merge reads an entry in three trees, and once more for renames."""


class TreeReader:
    """The trees of an overlay. Each is read once; a new one is written only if it was not read."""

    def __init__(self, objects: MemoryOverlay) -> None:
        """Read trees from `objects`, and add new ones to it."""
        self.objects = objects
        self._read: dict[bytes, Entries] = {}
        self._seen = 0

    def entries(self, tree: bytes | None, prefix: bytes = b"") -> Entries:
        """Return the entries of a tree (40 hex digits; None: no entries), which must not be changed.

        Raises TreeUnsafe for a tree that is malformed or too deep, or if more entries were read than a repository has;
        MirrorDamaged for one that is missing.
        """
        if tree is None:
            return {}
        trees.check_depth(prefix)
        found = self._entries(tree)
        # Counted at each visit: a tree of few objects can contain itself in billions of paths.
        self._seen += len(found) + 1
        if self._seen > _MAX_VISITS * trees.MAX_ENTRIES:
            raise TreeUnsafe(f"the trees have more than {trees.MAX_ENTRIES} entries")
        return found

    def find(self, tree: bytes | None, path: bytes) -> TreeEntry | None:
        """Return the entry at a path; None if there is none. Raises what `entries` raises."""
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
        """Yield each path at which two trees differ, in git's order, with both entries.

        A directory counts as no entry. It is yielded itself only if it is in `old` and not in `new`.
        """
        for path, one, two in walk_changes(self.entries, old, new, visits=_MAX_VISITS):
            one_tree, two_tree = tree_of(one), tree_of(two)
            if one_tree is not None and two_tree is None:
                yield path, one, None
            one_file, two_file = file_of(one), file_of(two)
            if one_file != two_file:
                yield path, one_file, two_file

    def write(self, entries: Entries) -> bytes:
        """Add the tree with these entries to the overlay, unless it was read from there; returns its id."""
        content = serialize_entries(entries)
        tree = hash_object(TREE, content)
        return tree if tree in self._read else self.objects.add(TREE, content)
