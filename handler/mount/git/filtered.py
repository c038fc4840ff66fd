"""The trees of commits as filters leave them. Pure, but for the objects that are read."""

from handler.config.fields import FieldReader, checked
from handler.config.names import subdirectory_problem
from handler.errors import SubdirectoryMissing
from handler.model import TreeFilter
from handler.mount.git.objects import TREE, Objects
from handler.mount.git.tree import DIRECTORY, parse_entries, quote


def read_filter(value: object) -> TreeFilter:
    """Return the filter that `TreeFilter.to_plain` made an object of. Raises ValueError for anything else."""
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    problems: list[str] = []
    reader = FieldReader(value, problems)
    reader.refuse_unknown({"subdirectory"})
    found = TreeFilter(subdirectory=reader.read("subdirectory", checked(subdirectory_problem), None))
    if problems:
        raise ValueError("is no filter")
    return found


def root_of(objects: Objects, commit: str, tree_filter: TreeFilter) -> bytes:
    """Return the id of what a filter leaves of a commit's tree; `read_tree` knows it.

    Raises SubdirectoryMissing where there is no such directory; MirrorDamaged, ObjectTooLarge, TreeUnsafe.
    """
    tree = objects.tree_of(commit)
    for name in (tree_filter.subdirectory or "").encode().split(b"/") if tree_filter.subdirectory else ():
        entry = parse_entries(objects.read(tree, TREE)).get(name)
        # No link is followed: where it leads to may lie outside of the tree.
        if entry is None or entry.mode != DIRECTORY:
            shown = quote((tree_filter.subdirectory or "").encode())
            problem = "is not there" if entry is None else "is no directory"
            raise SubdirectoryMissing(f"the rule's subdirectory {shown} {problem}: add it, or change the rule")
        tree = entry.id
    return tree


def read_tree(objects: Objects, tree: bytes) -> bytes:
    """Return the content of a tree, by its id or one of `root_of`. Raises MirrorDamaged, ObjectTooLarge, TreeUnsafe."""
    return objects.read(tree, TREE)
