"""A working copy that is open: its objects, refs and index, as they are now."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from handler.errors import CopyUnusable
from handler.mount.fs.files import is_there, read_all
from handler.mount.git.diff import TreeDiff, diff_trees
from handler.mount.git.objects import TREE, Objects
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.gitdir.locks import drop_lock, take_lock
from handler.mount.working_copy.gitdir.refs import Refs
from handler.mount.working_copy.gitdir.validate import CopyConfig
from handler.mount.working_copy.index.index_file import IndexFile
from handler.mount.working_copy.journal import remove_journal
from handler.mount.working_copy.local_changes import ChangeSet, IndexComparison, paths_to_find
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.parallel import Crew
from handler.mount.working_copy.paths import CopyPaths
from handler.mount.working_copy.worktree import Worktree

OUR_NAME = b"git2efs <git2efs@localhost>"
"""Who commits what is replayed, where the copy's own configuration names nobody."""


@dataclass(frozen=True, slots=True)
class OpenCopy:
    """The working copy that has `branch` (its full ref) checked out."""

    paths: CopyPaths
    config: CopyConfig
    branch: str
    store: CopyStore
    refs: Refs
    crew: Crew

    @property
    def committer(self) -> bytes:
        """Who commits here: `Name <mail>`."""
        return self.config.committer or OUR_NAME

    def head(self) -> str | None:
        """Return the commit that the branch names; None before the first one. Raises CopyUnusable, OSError."""
        commit = self.refs.read(self.branch)
        return None if commit is None else commit.decode()

    def differences(self, objects: MemoryOverlay | Objects, old: str | None, new: str) -> TreeDiff:
        """Return what differs between two commits' trees; None is the empty tree. Raises MirrorDamaged, TreeUnsafe."""
        trees = [None if commit is None else objects.tree_of(commit) for commit in (old, new)]
        return diff_trees(lambda tree: objects.read(tree, TREE), *trees)

    def read_index(self) -> IndexFile:
        """Read the index. Raises CopyUnusable where it is none that can be written, and OSError."""
        try:
            descriptor = os.open(self.paths.index, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return IndexFile.empty()
        try:
            written_at = int(os.fstat(descriptor).st_mtime)
            content = read_all(descriptor)
        finally:
            os.close(descriptor)
        index = IndexFile.read(content, written_at)
        if index.unmerged:
            paths = ", ".join(repr(path)[1:] for path in index.unmerged[:5])
            raise CopyUnusable(f"a merge is not finished in the working copy: {paths}")
        return index

    def compare_index(self, worktree: Worktree, index: IndexFile, changes: ChangeSet) -> IndexComparison:
        """Return how the paths that change are compared with what the index knew of them."""
        entries = index.find(paths_to_find(changes))
        return IndexComparison(worktree, entries, self.config.trusts_filemode, self.config.trusts_ctime)

    def worktree(self) -> AbstractContextManager[Worktree]:
        """Open the files. Raises OSError."""
        return Worktree.opened(self.paths.root, self.paths.own)

    @contextmanager
    def locked(self) -> Iterator["CopyLock"]:
        """Keep git's commands out of the copy, until the block ends well or with nothing half done.

        While there is a journal the lock stays, whatever happened: what git would do to a copy whose files are half
        those of another commit is nothing that anybody wants. The next run finds both. Raises CopyBusy, OSError.
        """
        take_lock(self.paths.lock)
        hold = CopyLock(self.paths)
        try:
            yield hold
        finally:
            if not hold.is_over and not is_there(self.paths.journal):
                drop_lock(self.paths.lock)


@dataclass(slots=True)
class CopyLock:
    """The lock of a working copy, which git looks at, while it is held."""

    paths: CopyPaths
    is_over: bool = False

    def end(self) -> None:
        """All is done: take the journal away, and let git in. Raises OSError."""
        remove_journal(self.paths)
        self.is_over = True
        drop_lock(self.paths.lock)
