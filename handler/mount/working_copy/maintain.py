"""Daily maintenance of a working copy: repack what pulls wrote, sweep what killed runs left."""

from contextlib import closing

from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.journal import read_journal
from handler.mount.working_copy.paths import CopyPaths, prepare_state_directory


def maintain_copy(root: str) -> None:
    """Maintain the working copy at `root`, under its repository's lock. Raises MirrorDamaged.

    If a killed run left a journal, nothing is done: the next pull recovers from it, and the schedule brings one.
    """
    paths = CopyPaths(root)
    if read_journal(paths) is not None:
        return
    prepare_state_directory(paths)
    with closing(CopyStore(paths.git)) as store:
        store.refresh()
        store.maintain()
