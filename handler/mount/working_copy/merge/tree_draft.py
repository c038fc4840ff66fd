"""Build a tree from existing trees and single entries."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from handler.mount.git.objects import TREE
from handler.mount.git.tree import DIRECTORY, Entries, TreeEntry
from handler.mount.working_copy.merge.trees import TreeReader
from handler.mount.working_copy.overlay import MemoryOverlay


@dataclass(slots=True)
class TreeDraft:
    """A directory that is being built. A name may have both a file and a directory: one has to go before it is written.

    A directory below is another draft, or the id of an existing tree.
    """

    files: Entries = field(default_factory=dict)
    directories: dict[bytes, "bytes | TreeDraft"] = field(default_factory=dict)

    def put(self, trees: TreeReader, path: bytes, entry: TreeEntry | None) -> None:
        """Set the file at a path; None removes it."""
        draft = self
        *parents, name = path.split(b"/")
        for parent in parents:
            below = draft.directories.get(parent)
            if not isinstance(below, TreeDraft):
                below = draft.directories[parent] = _expand(trees, below)
            draft = below
        if entry is None:
            draft.files.pop(name, None)
        else:
            draft.files[name] = entry

    def write(self, trees: TreeReader, prefix: bytes = b"") -> tuple[bytes | None, list[bytes]]:
        """Return the tree's id, None without entries, and the paths that have both a file and a directory."""
        entries = dict(self.files)
        conflicting: list[bytes] = []
        for name, below in self.directories.items():
            if isinstance(below, TreeDraft):
                tree, clashing = below.write(trees, prefix + name + b"/")
                conflicting += clashing
            else:
                tree = below
            if tree is None:
                continue
            if name in entries:
                conflicting.append(prefix + name)
            entries[name] = TreeEntry(DIRECTORY, tree)
        return (trees.write(entries) if entries else None), conflicting


def _expand(trees: TreeReader, tree: bytes | None) -> TreeDraft:
    draft = TreeDraft()
    for name, entry in trees.entries(tree).items():
        if entry.mode == DIRECTORY:
            draft.directories[name] = entry.id
        else:
            draft.files[name] = entry
    return draft


def tree_with(objects: MemoryOverlay, tree: bytes | None, entries: Mapping[bytes, TreeEntry | None]) -> bytes:
    """Return the tree (40 hex digits) that has these files and links at these paths (None: nothing); add new trees.

    Directories that become empty are left out. Raises MirrorDamaged, TreeUnsafe.
    """
    trees = TreeReader(objects)
    draft = _expand(trees, tree)
    for path, entry in entries.items():
        draft.put(trees, path, entry)
    written, _ = draft.write(trees)
    return written or objects.add(TREE, b"")
