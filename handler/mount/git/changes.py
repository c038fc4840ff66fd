"""Which paths differ between two commits, for the events that consumers get."""

from handler.errors import Git2EfsError
from handler.exchange.events import ChangedPaths
from handler.model import TreeFilter
from handler.mount.git.diff import walk_changes
from handler.mount.git.filtered import FilteredTrees
from handler.mount.git.objects import Objects
from handler.mount.git.tree import DIRECTORY, SUBMODULE, TreeEntry, parse_entries


def changed_paths(objects: Objects, previous: str | None, commit: str, tree_filter: TreeFilter) -> ChangedPaths | None:
    """Return what changed from `previous` (None: from nothing) to `commit`; None where that cannot be said.

    Of both, only what the filter leaves counts.

    Only trees are read, and of them those that differ. The plan that published `commit` does not say the same: it may
    have brought a release up to date that was older than the previous one, or written a whole tree.
    """
    added, modified, removed = [], [], []
    trees = FilteredTrees(objects)
    try:
        changes = walk_changes(
            lambda tree, prefix: parse_entries(trees.read(tree), prefix),
            None if previous is None else trees.root(previous, tree_filter),
            trees.root(commit, tree_filter),
        )
        for path, old, new in changes:
            if _is_published_file(old) and _is_published_file(new):
                modified.append(path)
            elif _is_published_file(new):
                added.append(path)
            elif _is_published_file(old):
                removed.append(path)
    except (Git2EfsError, OSError):
        return None  # the previous commit's objects are gone, after a fresh fetch say
    return ChangedPaths(added=tuple(added), modified=tuple(modified), removed=tuple(removed))


def _is_published_file(entry: TreeEntry | None) -> bool:
    """Whether it is a file or link; a submodule is published as an empty directory."""
    return entry is not None and entry.mode not in (DIRECTORY, SUBMODULE)
