"""Make a working copy that is not there yet: beside its place, and renamed into it when all of it is there.

Broken off anywhere, by a kill too, the next run goes on with what it finds: the objects that were fetched, and as much
of the tree as was written, if the ref still names that commit.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from handler.errors import TargetOccupied
from handler.model import TreePlan
from handler.mount.fs.checkout import Written, check_out
from handler.mount.fs.directories import DirectoryHandles, remove_tree
from handler.mount.fs.files import is_there, write_whole
from handler.mount.fs.parallel import Stage, Workers, batches
from handler.mount.git.diff import diff_trees
from handler.mount.git.objects import BLOB, TREE
from handler.mount.git.plan import plan_change
from handler.mount.target.layout import GIT, is_commit
from handler.mount.target.run import Run
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.gitdir.init import init_repository
from handler.mount.working_copy.gitdir.locks import release_stale_lock
from handler.mount.working_copy.gitdir.ref_logs import NULL_OID, LogEntry
from handler.mount.working_copy.gitdir.refs import Refs
from handler.mount.working_copy.index.entry import IndexEntry, Stat
from handler.mount.working_copy.index.index_file import build

_JOURNAL = ".journal"
_MOST_SECONDS, _TRIES = 1.2, 12
"""How long, in how many steps, the file system's clock is waited for to reach its next second."""


@dataclass(slots=True)
class Clone:
    """The copy of `work`'s target while it is made, in the directory `stage`."""

    work: Run
    stage: str
    _statuses: dict[bytes, os.stat_result] = field(default_factory=dict)

    @classmethod
    def of(cls, work: Run) -> "Clone":
        """Return the one that was begun, or is to be."""
        return cls(work, work.paths.new_copy(work.target.path))

    @property
    def git(self) -> str:
        """Its git directory, until the tree is there."""
        return os.path.join(self.stage, GIT)

    def prepare(self) -> bool:
        """Make or find what is there of it; returns whether all was there, and is in its place now.

        Raises TargetOccupied where something else is in its place, and OSError.
        """
        root = self.work.directory.paths.directory
        try:
            if os.listdir(root):
                raise TargetOccupied("what stands at the target's path is no working copy of git's")
        except NotADirectoryError:
            raise TargetOccupied("what stands at the target's path is no directory") from None
        except FileNotFoundError:
            pass
        for name in _list_names(self.stage):
            tree = os.path.join(self.stage, name)
            if is_commit(name) and is_there(os.path.join(tree, GIT)):
                self._move_into_place(tree)  # killed just before that
                return True
        if not is_there(self.git):
            init_repository(self.stage, self.work.repository.url, self.work.target.ref)
        release_stale_lock(os.path.join(self.git, "shallow.lock"))
        return False

    def sweep(self) -> None:
        """Remove what is left of it once a copy is in its place, ours or somebody else's. Raises OSError."""
        with suppress(FileNotFoundError):
            remove_tree(self.stage)

    def finish(self, store: CopyStore, commit: str, committer: bytes) -> tuple[Written, TreePlan]:
        """Check the commit out, and put the copy in its place. Raises Git2EfsError, OSError."""
        tree = os.path.join(self.stage, commit)
        for name in _list_names(self.stage):
            # What the ref named when an earlier run was broken off.
            if is_commit(name) and name != commit:
                remove_tree(os.path.join(self.stage, name))
        os.makedirs(tree, exist_ok=True)
        plan = plan_change(
            partial(store.read, kind=TREE),
            partial(store.read, kind=BLOB),
            None,
            store.tree_of(commit),
            allow_external_links=self.work.repository.allow_external_links,
        )
        work = self.work
        written = check_out(
            tree,
            plan,
            Workers(work.settings.checkout_workers, is_slow=work.is_slow),
            read_blob=partial(store.read, kind=BLOB),
            journal=os.path.join(self.stage, commit + _JOURNAL),
            progress=partial(work.report_progress, commit),
        )
        self._write_index(store, commit, tree, plan)
        self._write_refs(commit, committer)
        self._make_index_newest()
        os.rename(self.git, os.path.join(tree, GIT))
        self._move_into_place(tree)
        return written, plan

    def _write_index(self, store: CopyStore, commit: str, tree: str, plan: TreePlan) -> None:
        """Write the index, with what each file's status is now, so that git need not read them all."""
        paths = [*(write.path for write in plan.files), *(write.path for write in plan.links)]
        workers = Workers(self.work.settings.checkout_workers, is_slow=self.work.is_slow)
        workers.run(partial(DirectoryHandles, tree), [Stage(self._lstat, [batches(paths)])])
        found = diff_trees(partial(store.read, kind=TREE), None, store.tree_of(commit))
        entries = []
        for path, (_, entry) in found.entries.items():
            assert entry is not None
            status = self._statuses.get(path)
            entries.append((path, IndexEntry(*entry, Stat.of(status) if status else Stat())))
        write_whole(os.path.join(self.git, "index"), build(entries, found.new_trees))

    def _make_index_newest(self) -> None:
        """Let the index be a second younger than every file, by the file system's own clock, before anybody sees them.

        Git, which compares whole seconds, reads each file that is as young as the index, at every look; and after the
        next pull, which writes a younger one, it would have to read them all once more. That may be the whole copy,
        where all of it was written within a second. To give the index a later time at once would hide what somebody
        changes within the same second.
        """
        newest = max((int(status.st_mtime) for status in self._statuses.values()), default=0)
        index = os.path.join(self.git, "index")
        for _ in range(_TRIES):
            if int(os.stat(index).st_mtime) > newest:
                break
            self.work.sleep(_MOST_SECONDS / _TRIES)
            os.utime(index)

    def _lstat(self, directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
        for path in paths:
            directory, name = directories.parent(path)
            self._statuses[path] = os.stat(name, dir_fd=directory, follow_symlinks=False)
        return 0

    def _write_refs(self, commit: str, committer: bytes) -> None:
        """Say where the branch is, as after `git clone`. HEAD names it since the copy was begun."""
        refs = Refs(self.git)
        with suppress(FileNotFoundError):
            remove_tree(os.path.join(self.git, "logs"))  # of the commit that an earlier run was broken off with
        work, new = self.work, commit.encode()
        branch = work.target.ref
        line = [LogEntry(NULL_OID, new, b"clone: from " + work.repository.url.encode())]
        for log in ("HEAD", branch):
            if not refs.log(log):
                refs.append_log(log, line, committer, int(work.clock()))
        refs.write(tracking_ref(branch), new)
        refs.write(branch, new)

    def _move_into_place(self, tree: str) -> None:
        root = self.work.directory.paths.directory
        os.makedirs(os.path.dirname(root), exist_ok=True)
        os.rename(tree, root)
        remove_tree(self.stage)


def tracking_ref(branch: str) -> str:
    """Return the ref that says what the branch of the remote `origin` was last."""
    return f"refs/remotes/origin/{branch.removeprefix('refs/heads/')}"


def _list_names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
