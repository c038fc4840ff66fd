"""The daily chores of a working copy: its packs are merged, what killed runs left is swept."""

from contextlib import closing

from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.journal import read_journal
from handler.mount.working_copy.paths import CopyPaths, prepare_own


def maintain_copy(root: str) -> None:
    """Do them for the working copy at `root`, under its repository's lock. Raises MirrorDamaged, OSError.

    What a killed run was about to do is not for the chores: the next pull, which the schedule brings, goes on with it.
    """
    paths = CopyPaths(root)
    if read_journal(paths) is not None:
        return
    prepare_own(paths)
    with closing(CopyStore(paths.git)) as store:
        store.refresh()
        store.maintain()
