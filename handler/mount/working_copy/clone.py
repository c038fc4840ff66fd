"""Clone a working copy that is not there yet: beside its place, and renamed into it when it is complete.

If a run is stopped anywhere, even killed, the next one continues with what it finds: the fetched objects, and the files
that were checked out, if the ref still names that commit.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from handler.errors import TargetOccupied
from handler.model import Counts, ExternalLinks
from handler.mount.fs.checkout import check_out
from handler.mount.fs.directories import DirectoryHandles, make_directories, names_in, remove_tree
from handler.mount.fs.files import is_there, rename, write_whole
from handler.mount.fs.parallel import Stage, batches
from handler.mount.fs.plan import TreePlan
from handler.mount.git.diff import diff_trees
from handler.mount.git.objects import BLOB, TREE
from handler.mount.target.layout import GIT, is_commit, trash_name
from handler.mount.target.run import Run
from handler.mount.working_copy.gitdir.copy_config import default_tracking_ref
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.gitdir.init import init_repository
from handler.mount.working_copy.gitdir.locks import release_stale_lock
from handler.mount.working_copy.gitdir.ref_logs import NULL_OID, LogEntry
from handler.mount.working_copy.gitdir.refs import Refs
from handler.mount.working_copy.index.entry import NO_STAT, IndexEntry, Stat
from handler.mount.working_copy.index.index_file import build
from handler.mount.working_copy.plan import plan_checkout

_JOURNAL = ".journal"
_MAX_WAIT_SECONDS, _WAIT_STEPS = 1.2, 12
"""How long, and in how many steps, to wait for the next second of the file system's clock."""


@dataclass(slots=True)
class Clone:
    """The copy of `work`'s target while it is being made, in the directory `stage`."""

    work: Run
    stage: str
    _statuses: dict[bytes, os.stat_result] = field(default_factory=dict)

    @classmethod
    def of(cls, work: Run) -> "Clone":
        """Return the clone that a former run began, or a new one."""
        return cls(work, work.paths.new_copy(work.target.path))

    @property
    def git(self) -> str:
        """Its git directory, until the files are checked out."""
        return os.path.join(self.stage, GIT)

    def prepare(self) -> bool:
        """Begin the clone, or find what a former run left. Returns whether that was complete, and is in its place now.

        Raises TargetOccupied if something else is in its place.
        """
        root = self.work.directory.root
        try:
            if names_in(root):
                raise TargetOccupied("what stands at the target's path is no working copy of git's")
        except NotADirectoryError:
            raise TargetOccupied("what stands at the target's path is no directory") from None
        except FileNotFoundError:
            pass
        for name in _list_names(self.stage):
            tree = os.path.join(self.stage, name)
            if is_commit(name) and is_there(os.path.join(tree, GIT)):
                self._move_into_place(tree)  # the former run was killed before this rename
                return True
        if not is_there(self.git):
            init_repository(self.stage, self.work.repository.url, self.work.target.ref)
        release_stale_lock(os.path.join(self.git, "shallow.lock"))
        return False

    def sweep(self) -> None:
        """Remove what is left of the clone when a copy is in its place, ours or somebody else's."""
        with suppress(FileNotFoundError):
            remove_tree(self.stage)

    def finish(self, store: CopyStore, commit: str, committer: bytes) -> tuple[Counts, TreePlan]:
        """Check the commit out, and move the copy into its place. Raises Git2EfsError, LockLost among them."""
        tree = os.path.join(self.stage, commit)
        for name in _list_names(self.stage):
            # An earlier run was stopped while it checked this commit out.
            if is_commit(name) and name != commit:
                # Renamed first: another run may begin a tree of this name while this one is still being removed.
                trash = os.path.join(self.stage, trash_name())
                self.work.lock.check()
                rename(os.path.join(self.stage, name), trash)
                remove_tree(trash)
        make_directories(tree)
        work = self.work
        plan = plan_checkout(
            store,
            None,
            commit,
            max_bytes=work.max_tree_bytes,
            allow_external_links=work.repository.external_links is ExternalLinks.KEEP,
        )
        written = check_out(
            tree,
            plan,
            self.work.workers,
            read_blob=partial(store.read, kind=BLOB),
            journal=os.path.join(self.stage, commit + _JOURNAL),
            progress=partial(work.report_progress, commit),
        )
        # Before each thing whose name another run's clone would have too.
        work.lock.check()
        self._write_index(store, commit, tree, plan)
        work.lock.check()
        self._write_refs(commit, committer)
        self._make_index_newest()
        work.lock.check()
        rename(self.git, os.path.join(tree, GIT))
        self._move_into_place(tree)
        return written, plan

    def _write_index(self, store: CopyStore, commit: str, tree: str, plan: TreePlan) -> None:
        """Write the index with each file's stat data, so that git need not read the files."""
        paths = [*(write.path for write in plan.files), *(write.path for write in plan.links)]
        self.work.workers.run(partial(DirectoryHandles, tree), [Stage(self._lstat, [batches(paths)])])
        found = diff_trees(partial(store.read, kind=TREE), None, store.tree_of(commit))
        entries = []
        for path, (_, entry) in found.entries.items():
            assert entry is not None
            status = self._statuses.get(path)
            stat = Stat.of(status) if status else NO_STAT
            entries.append((path, IndexEntry(mode=entry.mode, id=entry.id, stat=stat)))
        write_whole(os.path.join(self.git, "index"), build(entries, found.new_trees))

    def _make_index_newest(self) -> None:
        """Wait until the index is a second younger than every file, by the file system's clock."""
        # Git compares whole seconds: at each `git status` it reads the files that are as young as the index, and after
        # the next pull, which writes a younger index, it would have to read them all once more. That may be the whole
        # copy, if it was checked out within a second. A later mtime set at once would hide what somebody modifies
        # within that second.
        newest = max((int(status.st_mtime) for status in self._statuses.values()), default=0)
        index = os.path.join(self.git, "index")
        for _ in range(_WAIT_STEPS):
            if int(os.stat(index).st_mtime) > newest:
                break
            self.work.sleep(_MAX_WAIT_SECONDS / _WAIT_STEPS)
            os.utime(index)

    def _lstat(self, directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
        for path in paths:
            directory, name = directories.parent(path)
            self._statuses[path] = os.stat(name, dir_fd=directory, follow_symlinks=False)
        return 0

    def _write_refs(self, commit: str, committer: bytes) -> None:
        """Write the branch, its remote-tracking ref, and the reflogs of HEAD and of the branch, as `git clone` does."""
        # HEAD names the branch since `init_repository`.
        refs = Refs(self.git)
        with suppress(FileNotFoundError):
            remove_tree(os.path.join(self.git, "logs"))  # an earlier run wrote them for another commit
        work, new = self.work, commit.encode()
        branch = work.target.ref
        line = [LogEntry(NULL_OID, new, b"clone: from " + work.repository.url.encode())]
        for log in ("HEAD", branch):
            refs.append_log(log, line, committer, int(work.clock()))
        refs.write(default_tracking_ref("origin", branch), new)
        refs.write(branch, new)

    def _move_into_place(self, tree: str) -> None:
        root = self.work.directory.root
        make_directories(os.path.dirname(root))
        rename(tree, root)
        remove_tree(self.stage)


def _list_names(directory: str) -> list[str]:
    try:
        return names_in(directory)
    except FileNotFoundError:
        return []
