"""A tree with some of its entries changed, made out of the trees that are there."""

from collections import defaultdict
from collections.abc import Mapping

from dulwich.objects import ObjectID, parse_tree, serialize_tree

from handler.git.differences import DIRECTORY, Leaf
from handler.git.objects import TREE
from handler.git.overlay import Overlay


def with_leaves(objects: Overlay, tree: bytes | None, leaves: Mapping[bytes, Leaf | None]) -> bytes:
    """Return the tree (hex id) that has these files and links at these paths, None: nothing; new trees are added.

    Directories that become empty vanish. Raises MirrorDamaged, TreeUnsafe.
    """
    return _edit(objects, tree, leaves) or objects.add(TREE, b"")


def _edit(objects: Overlay, tree: bytes | None, leaves: Mapping[bytes, Leaf | None]) -> bytes | None:
    entries = (
        {} if tree is None else {name: (mode, id_) for name, mode, id_ in parse_tree(objects.read(tree, TREE), 20)}
    )
    inner: defaultdict[bytes, dict[bytes, Leaf | None]] = defaultdict(dict)
    for path, leaf in leaves.items():
        name, slash, rest = path.partition(b"/")
        if slash:
            inner[name][rest] = leaf
        elif leaf is None:
            entries.pop(name, None)
        else:
            entries[name] = leaf
    for name, below in inner.items():
        mode, object_id = entries.get(name, (0, b""))
        edited = _edit(objects, object_id if mode == DIRECTORY else None, below)
        if edited is not None:
            entries[name] = (DIRECTORY, edited)
        elif mode == DIRECTORY:
            del entries[name]
    if not entries:
        return None
    ordered = sorted(entries.items(), key=lambda each: each[0] + (b"/" if each[1][0] == DIRECTORY else b""))
    return objects.add(
        TREE, b"".join(serialize_tree((name, mode, ObjectID(object_id)) for name, (mode, object_id) in ordered))
    )
