"""Which paths differ between two commits: what consumers are told, not what a directory needs."""

from functools import partial

from handler.errors import Git2EfsError
from handler.model import ChangedPaths
from handler.mount.git.objects import TREE, Objects
from handler.mount.git.plan import plan_change


def changed_paths(objects: Objects, previous: str | None, commit: str) -> ChangedPaths | None:
    """Return what changed from `previous` (None: from nothing) to `commit`; None where that cannot be said.

    Trees alone are read, and of them those that differ. The plan that published `commit` does not say the same: it
    brought a release up to date that was older than the one before it, or wrote a tree whole.
    """
    try:
        plan = plan_change(
            partial(objects.read, kind=TREE),
            # Both trees were checked when they were published; a link's target says nothing about which paths differ.
            lambda blob: b".",
            None if previous is None else objects.tree_of(previous),
            objects.tree_of(commit),
        )
    except (Git2EfsError, OSError):
        return None  # the objects of the one before are gone, after a fresh fetch say
    entries = [(each.path, each.is_replacing) for each in plan.files]
    entries += [(each.path, each.is_replacing) for each in plan.links]
    return ChangedPaths(
        added=tuple(path for path, is_replacing in entries if not is_replacing),
        modified=tuple(path for path, is_replacing in entries if is_replacing),
        removed=plan.removed_files,
    )
