"""Publish a target as a git working copy: a session of `reconcile` that does what `git pull --rebase` does.

recover → fetch → plan → find obstructions → objects and journal → files → index → refs → record
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from handler.errors import CopyUnusable, LocalChanges, MirrorDamaged, OutOfTime
from handler.model import Outcome, OutcomeKind
from handler.mount.fs.errno_map import as_failure
from handler.mount.fs.files import is_there
from handler.mount.git.diff import TreeDiff
from handler.mount.git.fetch import Fetched, Have
from handler.mount.git.store_pool import StorePool
from handler.mount.target.mode import FlipResult, Session
from handler.mount.target.run import Run
from handler.mount.working_copy import apply
from handler.mount.working_copy.autostash import AutostashResult, StashBase, reapply, store_stash
from handler.mount.working_copy.branch import prepared_branch, update_refs
from handler.mount.working_copy.clone import Clone
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.gitdir.refs import Refs
from handler.mount.working_copy.gitdir.staging_area import StagingArea
from handler.mount.working_copy.gitdir.validate import validate
from handler.mount.working_copy.index.index_file import IndexFile
from handler.mount.working_copy.journal import PullJournal
from handler.mount.working_copy.local_changes import ChangeSet, describe_obstructions, find_obstructions
from handler.mount.working_copy.open_copy import DEFAULT_COMMITTER, CopyLock, OpenCopy
from handler.mount.working_copy.parallel import Crew
from handler.mount.working_copy.paths import CopyPaths, prepare_state_directory
from handler.mount.working_copy.plan import plan_checkout, plan_pull
from handler.mount.working_copy.recovery import recover, undo
from handler.mount.working_copy.tracking import TrackingUpdate
from handler.mount.working_copy.worktree import Worktree

_MAX_NOTED = 20


@contextmanager
def open_session(run: Run, stores: StorePool) -> Iterator[Session]:
    """Open the working copy for one run, or begin a clone of it where there is none."""
    try:
        with ExitStack() as stack:
            yield _open(run, stores, stack)
    except MirrorDamaged as error:
        # Never thrown away, as a mirror is: commits may be in it that are nowhere else.
        raise CopyUnusable(
            f"the working copy's objects are damaged, and only a person can mend them: {error}"
        ) from None
    # For a working copy we cache one fact: this process did the last run, and it succeeded.
    run.cached.known = {}


def _open(run: Run, stores: StorePool, stack: ExitStack) -> Session:
    if run.published.record is None:
        run.refuse_new()
    if not is_there(CopyPaths(run.directory.paths.directory).git):
        clone = Clone.of(run)
        if not clone.prepare():
            return CloneSession(run, stores, stack, clone)
    return PullSession(run, stores, stack)


def _is_warm(run: Run) -> bool:
    """Whether this process did the last run here, and it succeeded: then no killed run left anything."""
    return run.cached.known is not None


@contextmanager
def _opened(run: Run, stores: StorePool) -> Iterator[OpenCopy]:
    """Open the copy, if it is one that can be pulled into. Raises CopyUnusable, MirrorDamaged, OSError."""
    paths = CopyPaths(run.directory.paths.directory)
    config = validate(paths.root, run.repository.url, run.target.ref)
    if not _is_warm(run):
        prepare_state_directory(paths)
    # Not refreshed, though others may have repacked it: the store sees that by itself, where it matters.
    with stores.borrow_as(CopyStore, paths.git, is_unchanged=True) as store:
        store.executor = run.executor
        # An NFS client makes files of one directory one after the other, and refs are written beside all else.
        staging = StagingArea(paths.ref_staging) if run.is_slow else None
        refs = Refs(paths.git, makes_logs=config.makes_logs, staging=staging)
        crew = Crew(run.settings.checkout_workers, run.is_slow)
        yield OpenCopy(paths=paths, config=config, branch=run.target.ref, store=store, refs=refs, crew=crew)


class _CopySession:
    """What both kinds of session share."""

    def __init__(self, run: Run, stores: StorePool, stack: ExitStack) -> None:
        self._run = run
        self._stores = stores
        self._stack = stack
        self.notes: tuple[str, ...] = ()

    def retire(self, unchanged: Outcome) -> Outcome:
        """Leave the copy as it is: somebody's work may be in it."""
        return replace(unchanged, kind=OutcomeKind.IGNORED, reason="ref_gone")


class CloneSession(_CopySession):
    """The first run of a working copy: make it beside, and rename it into its place when it is complete."""

    def __init__(self, run: Run, stores: StorePool, stack: ExitStack, clone: Clone) -> None:
        super().__init__(run, stores, stack)
        run.registry.add(run.target.path)
        self._clone = clone
        self.store = CopyStore(clone.git)
        stack.callback(self.store.close)
        self.store.refresh()
        self.have = Have(None, run.confirmed_pushed_at)
        self._commit = ""
        self._is_published = False

    def prepare(self, fetched: Fetched) -> bool:
        """Say what is about to be published; the clone checks out where it makes the copy."""
        self._commit = fetched.commit or ""
        self._run.begin(self._commit)
        return True

    def flip(self) -> FlipResult:
        """Check out beside, and rename the copy into its place."""
        written, plan = self._clone.finish(self.store, self._commit, DEFAULT_COMMITTER)
        self.store.close()
        # Its objects are at their new place now; the event and the repacking read them there.
        self.store = self._stack.enter_context(_opened(self._run, self._stores)).store
        return FlipResult(
            visible_at=self._run.clock(),
            complete_at=time.perf_counter(),
            files_written=written.files,
            files_removed=0,
            bytes_written=written.bytes,
            notes=tuple(f"{path!r} is a submodule: an empty directory" for path in plan.submodules[:_MAX_NOTED]),
        )

    def tidy(self) -> tuple[str, ...]:
        """Repack what pulls wrote."""
        return _repacked(self.store)


@dataclass(slots=True, kw_only=True)
class _Prepared:
    """A pull that is planned, with its objects in the store: what is left is to change files, index and refs."""

    lock: CopyLock
    worktree: Worktree
    index: IndexFile
    difference: TreeDiff
    changes: ChangeSet
    journal: PullJournal
    notes: tuple[str, ...]


class PullSession(_CopySession):
    """A run of a working copy that is there."""

    def __init__(self, run: Run, stores: StorePool, stack: ExitStack) -> None:
        super().__init__(run, stores, stack)
        self._copy = copy = stack.enter_context(_opened(run, stores))
        self.store = copy.store
        if run.published.record is None:
            run.registry.add(run.target.path)
            Clone.of(run).sweep()
        if not _is_warm(run):
            self.notes = recover(copy)
        reading_head = run.executor.submit(copy.head)
        self._tracking = copy.refs.read(copy.config.tracking_ref)
        self._head = reading_head.result()
        # Without a tracking ref, what is here is still not fetched again, and its history not cut.
        have = self._head if self._tracking is None else self._tracking.decode()
        self.have = Have(have, run.confirmed_pushed_at)
        self._worktrees = stack.enter_context(ExitStack())
        self._writing_tracking: Future[None] | None = None
        self._prepared: _Prepared | None = None

    def prepare(self, fetched: Fetched) -> bool:
        """Plan the pull, and store its objects. Raises LocalChanges, ReplayConflict, CopyBusy, TreeUnsafe."""
        run, copy, tip = self._run, self._copy, fetched.commit or ""
        update = TrackingUpdate.of(copy, self._tracking, tip.encode())
        writing = run.executor.submit(partial(update.write, copy, int(run.clock()), is_retry=not _is_warm(run)))
        self._writing_tracking = writing
        if self._head != tip:
            lock = self._stack.enter_context(copy.locked())
            self._prepared = self._plan(lock, update, tip)
        if self._prepared is None:
            writing.result()
        return self._prepared is not None

    def _plan(self, lock: CopyLock, update: TrackingUpdate, tip: str) -> _Prepared | None:
        """Return what is to be done to bring the branch to the tip; None: nothing, the branch has it already."""
        run, copy, timestamp = self._run, self._copy, int(self._run.clock())
        reading_index, reading_head = run.executor.submit(copy.read_index), run.executor.submit(copy.head)
        if copy.refs.head() != copy.branch:
            raise CopyUnusable("another branch was checked out while this one was fetched")
        head = reading_head.result()
        pull = plan_pull(copy, update, head, timestamp)
        if pull is None:
            return None
        difference = copy.diff(pull.objects, head, pull.head)
        # Before anything is written: this raises TreeUnsafe.
        plan_checkout(pull.objects, head, pull.head, allow_external_links=run.repository.allow_external_links)
        changes, index = ChangeSet.of(difference), reading_index.result()
        worktree = self._worktrees.enter_context(copy.worktree())
        comparison = copy.compare_index(worktree, index, changes)
        autostash = AutostashResult()
        if obstructions := find_obstructions(comparison, changes, copy.crew):
            if head is None or not run.target.autostash:
                raise LocalChanges(describe_obstructions(obstructions))
            base = StashBase(head, copy.branch, copy.committer, timestamp)
            autostash = reapply(pull.objects, comparison, obstructions, base, copy.refs)
            changes = changes.with_local_changes(autostash.local_changes)
        run.begin(tip)
        copy.store.add(pull.objects.added)
        return _Prepared(
            lock=lock,
            worktree=worktree,
            index=index,
            difference=difference,
            changes=changes,
            journal=PullJournal(
                branch=copy.branch,
                old=head,
                new=pull.head,
                committer=copy.committer,
                timestamp=timestamp,
                lines=pull.log_lines,
                local_changes=autostash.local_changes,
                stash=autostash.stash,
            ),
            notes=pull.notes + autostash.notes,
        )

    def flip(self) -> FlipResult:
        """Change files, index and refs, in this order."""
        assert self._prepared is not None
        assert self._writing_tracking is not None
        done = self._apply(self._prepared)
        self._worktrees.close()
        ending = self._run.executor.submit(self._prepared.lock.release)
        self._stack.callback(ending.result)
        self._writing_tracking.result()
        return FlipResult(
            visible_at=self._run.clock(),
            complete_at=time.perf_counter(),
            files_written=done.files_written,
            files_removed=done.files_removed,
            bytes_written=done.bytes_written,
            notes=self._prepared.notes,
        )

    def _apply(self, prepared: _Prepared) -> apply.ApplyResult:
        """Do what the journal says, to the end or back."""
        run, copy, journal = self._run, self._copy, prepared.journal
        # The journal names objects: they have to be on the mount before it is.
        copy.store.flush()
        # Before the first file changes: from here on a killed run is finished, or undone, by what the journal says.
        journal.write(copy.paths, copy.store.staging)
        try:
            with prepared_branch(copy.refs, journal, run.executor) as branch:
                store_stash(copy.refs, journal)
                entries, done = apply.apply(
                    prepared.worktree, prepared.changes, copy.store, run.check_deadline, copy.crew
                )
                content = prepared.index.patch(entries, trees=prepared.difference.new_trees)
                apply.write_index(copy.paths, copy.store.staging, content)
                update_refs(copy.refs, journal, branch.result(), run.executor, is_retry=not _is_warm(run))
        except OutOfTime:
            raise  # the next run finds the journal, and goes on
        except Exception:
            with suppress(Exception):
                undo(copy, journal)
            raise
        return done

    def tidy(self) -> tuple[str, ...]:
        """Repack what pulls wrote, if this run pulled."""
        return _repacked(self.store) if self._prepared is not None else ()


def _repacked(store: CopyStore) -> tuple[str, ...]:
    try:
        store.maintain()
    except Exception as error:
        return (f"after the pull: {as_failure(error)}",)
    return ()
