"""A working copy that is open: its objects, refs and index, and the lock that keeps git out."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from handler.errors import CopyUnusable
from handler.mount.fs.files import is_there, open_to_read, read_all
from handler.mount.fs.parallel import Workers
from handler.mount.git.diff import TreeDiff, diff_trees
from handler.mount.git.objects import TREE, Objects
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.gitdir.locks import acquire_lock, release_lock
from handler.mount.working_copy.gitdir.refs import Refs
from handler.mount.working_copy.gitdir.validate import CopyConfig
from handler.mount.working_copy.index.index_file import IndexFile
from handler.mount.working_copy.journal import remove_journal
from handler.mount.working_copy.local_changes import ChangeSet, IndexComparison
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.paths import CopyPaths
from handler.mount.working_copy.worktree import Worktree

DEFAULT_COMMITTER = b"git2efs <git2efs@localhost>"
"""The committer of replayed commits if the copy's own configuration names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCopy:
    """The working copy that has `branch` (a full name) checked out."""

    paths: CopyPaths
    config: CopyConfig
    branch: str
    store: CopyStore
    refs: Refs
    workers: Workers

    @property
    def committer(self) -> bytes:
        """The committer here: `Name <mail>`."""
        return self.config.committer or DEFAULT_COMMITTER

    def head(self) -> str | None:
        """Return the commit that the branch names; None before the first one. Raises CopyUnusable."""
        commit = self.refs.read(self.branch)
        return None if commit is None else commit.decode()

    def diff(self, objects: MemoryOverlay | Objects, old: str | None, new: str) -> TreeDiff:
        """Return the difference of two commits' trees; None is the empty tree. Raises MirrorDamaged, TreeUnsafe."""
        trees = [None if commit is None else objects.tree_of(commit) for commit in (old, new)]
        return diff_trees(lambda tree: objects.read(tree, TREE), *trees)

    def read_index(self) -> IndexFile:
        """Read the index. Raises CopyUnusable if it is damaged, unmerged or of an unknown kind."""
        try:
            with open_to_read(self.paths.index) as descriptor:
                written_at = int(os.fstat(descriptor).st_mtime)
                content = read_all(descriptor)
        except FileNotFoundError:
            return IndexFile.empty()
        index = IndexFile.read(content, written_at)
        if index.unmerged:
            paths = ", ".join(repr(path)[1:] for path in index.unmerged[:5])
            raise CopyUnusable(f"a merge is not finished in the working copy: {paths}")
        return index

    def compare_index(self, worktree: Worktree, index: IndexFile, changes: ChangeSet) -> IndexComparison:
        """Return how to compare the paths of `changes` with the worktree. Raises CopyUnusable."""
        return IndexComparison.of(
            worktree,
            index,
            changes,
            trusts_filemode=self.config.trusts_filemode,
            trusts_ctime=self.config.trusts_ctime,
        )

    def worktree(self) -> AbstractContextManager[Worktree]:
        """Open the files."""
        return Worktree.opened(self.paths.root, self.paths.state_directory)

    @contextmanager
    def locked(self) -> Iterator["CopyLock"]:
        """Hold `index.lock` until the block ends, so that git's commands stay out. Raises CopyBusy."""
        acquire_lock(self.paths.lock)
        lock = CopyLock(self.paths)
        try:
            yield lock
        finally:
            # While there is a journal the lock stays, whatever was raised: files of two commits are mixed, and git
            # would commit them. The next run finds both.
            if not lock.is_released and not is_there(self.paths.journal):
                release_lock(self.paths.lock)


@dataclass(slots=True)
class CopyLock:
    """The held `index.lock` of a working copy."""

    paths: CopyPaths
    is_released: bool = False

    def release(self) -> None:
        """Remove the journal, then the lock: the pull is done."""
        remove_journal(self.paths)
        self.is_released = True
        release_lock(self.paths.lock)
