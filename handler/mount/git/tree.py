"""Trees as a merge reads and writes them: entries by name, modes as git has them in an index."""

import stat
from collections.abc import Iterator
from typing import NamedTuple

from dulwich.errors import ObjectFormatException
from dulwich.objects import parse_tree

from handler.errors import TreeUnsafe
from handler.mount.git.modes import DIRECTORY, canonical
from handler.mount.git.objects import TREE, hash_object
from handler.mount.git.plan import MAX_DEPTH, MAX_ENTRIES
from handler.mount.working_copy.overlay import MemoryOverlay

_MOST_VISITS = 4
"""A merge looks at an entry in three trees, and once more where renames are looked for."""


class TreeEntry(NamedTuple):
    """What a name stands for: `mode` is one of 0o100644, 0o100755, 0o120000, 0o160000, 0o40000; `id` is in hex."""

    mode: int
    id: bytes

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, executable or not."""
        return stat.S_ISREG(self.mode)


Entries = dict[bytes, TreeEntry]


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
        if prefix.count(b"/") > MAX_DEPTH:
            raise TreeUnsafe(f"a tree lies more than {MAX_DEPTH} directories deep")
        found = self._entries(tree)
        # Counted again each time: a tree of few objects can name itself into billions of paths.
        self._seen += len(found) + 1
        if self._seen > _MOST_VISITS * MAX_ENTRIES:
            raise TreeUnsafe(f"the trees have more than {MAX_ENTRIES} entries")
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

    def changes(
        self, old: bytes | None, new: bytes | None, prefix: bytes = b""
    ) -> Iterator[tuple[bytes, TreeEntry | None, TreeEntry | None]]:
        """Yield each path at which two trees differ, in git's order, with both entries.

        A directory counts as no entry; it is yielded itself only where it is in `old` and not in `new`.
        """
        if old == new:
            return
        before, after = self.entries(old, prefix), self.entries(new, prefix)
        for name in sorted(before.keys() | after.keys()):
            one, two = before.get(name), after.get(name)
            if one == two:
                continue
            one_tree, two_tree = tree_of(one), tree_of(two)
            path = prefix + name
            if one_tree is not None and two_tree is None:
                yield path, one, None
            one_file = None if one_tree else one
            two_file = None if two_tree else two
            if one_file != two_file:
                yield path, one_file, two_file
            if one_tree or two_tree:
                yield from self.changes(one_tree, two_tree, path + b"/")

    def write(self, entries: Entries) -> bytes:
        """Return the id of the tree with these entries, added to the overlay unless it was read from there."""
        names = sorted(entries, key=lambda name: name + b"/" if entries[name].mode == DIRECTORY else name)
        lines = (b"%o %b\0%b" % (entries[name].mode, name, bytes.fromhex(entries[name].id.decode())) for name in names)
        content = b"".join(lines)
        tree = hash_object(TREE, content)
        return tree if tree in self._read else self.objects.add(TREE, content)


def tree_of(entry: TreeEntry | None) -> bytes | None:
    """Return the id of the tree that an entry is, None where it is none."""
    return entry.id if entry is not None and entry.mode == DIRECTORY else None


def parse_entries(content: bytes) -> Entries:
    """Return the entries of a tree. Raises TreeUnsafe for one that is malformed, or that git would not make."""
    entries: Entries = {}
    try:
        for name, mode, object_id in parse_tree(content, 20):
            if name in entries or b"/" in name or name in (b"", b".", b".."):
                raise TreeUnsafe(f"a tree has the name {name[:200]!r} twice, or it is none")
            entries[name] = TreeEntry(canonical(mode), object_id)
    except (ValueError, OverflowError, AssertionError, ObjectFormatException) as error:
        raise TreeUnsafe(f"a tree is malformed ({type(error).__name__})") from None
    return entries
