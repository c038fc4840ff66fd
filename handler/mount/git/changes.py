"""Which paths differ between two commits, for the events that consumers get."""

from handler.errors import Git2EfsError
from handler.exchange.events import ChangedPaths
from handler.mount.git.diff import walk_changes
from handler.mount.git.objects import TREE, Objects
from handler.mount.git.tree import DIRECTORY, SUBMODULE, TreeEntry, parse_pairs


def changed_paths(objects: Objects, previous: str | None, commit: str) -> ChangedPaths | None:
    """Return what changed from `previous` (None: from nothing) to `commit`; None where that cannot be said.

    Only trees are read, and of them those that differ. The plan that published `commit` does not say the same: it may
    have brought a release up to date that was older than the previous one, or written a whole tree.
    """
    added, modified, removed = [], [], []
    try:
        changes = walk_changes(
            lambda tree, prefix: parse_pairs(objects.read(tree, TREE), prefix),
            None if previous is None else objects.tree_of(previous),
            objects.tree_of(commit),
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
