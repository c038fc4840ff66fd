"""Publish a target as a git working copy: a session of `reconcile` that does what `git pull --rebase` does.

recover → fetch → plan → find obstructions → objects and journal → files → index → refs → record
"""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from handler.errors import CopyUnusable, LocalChanges, LockLost, MirrorDamaged, OutOfTime
from handler.exchange.remote import FetchQuery
from handler.model import Counts, ExternalLinks
from handler.mount.fs.files import is_there
from handler.mount.git.diff import TreeDiff
from handler.mount.git.fetch import Fetched
from handler.mount.git.mirror import StorePool
from handler.mount.target.mode import Session
from handler.mount.target.run import Run
from handler.mount.working_copy import apply
from handler.mount.working_copy.autostash import AutostashResult, StashBase, reapply, store_stash
from handler.mount.working_copy.branch import prepared_branch, update_refs
from handler.mount.working_copy.clone import Clone
from handler.mount.working_copy.clone_session import CloneSession, CopySession, is_warm, opened, repacked
from handler.mount.working_copy.deepen import deepening_query
from handler.mount.working_copy.index.index_file import IndexFile
from handler.mount.working_copy.journal import PullJournal
from handler.mount.working_copy.local_changes import (
    ChangeSet,
    LocalFindings,
    compare_with_local_changes,
    describe_obstructions,
)
from handler.mount.working_copy.open_copy import CopyLock
from handler.mount.working_copy.paths import CopyPaths
from handler.mount.working_copy.plan import plan_checkout, plan_pull
from handler.mount.working_copy.recovery import recover, undo
from handler.mount.working_copy.tracking import TrackingUpdate
from handler.mount.working_copy.worktree import Worktree


@contextmanager
def open_session(run: Run, stores: StorePool) -> Iterator[Session]:
    """Open the working copy for one run, or begin a clone if there is none."""
    try:
        with ExitStack() as stack:
            yield _open(run, stores, stack)
    except MirrorDamaged as error:
        # Unlike a mirror, a copy is never discarded: it may have commits that exist nowhere else.
        raise CopyUnusable(
            f"the working copy's objects are damaged, and only a person can mend them: {error}"
        ) from None
    # For a working copy we cache one fact: this process did the last run, and it succeeded.
    run.known = {}


def _open(run: Run, stores: StorePool, stack: ExitStack) -> Session:
    if run.published.record is None:
        run.refuse_new()
    if not is_there(CopyPaths(run.directory.root).git):
        clone = Clone.of(run)
        if not clone.prepare():
            return CloneSession(run, stores, stack, clone)
    return PullSession(run, stores, stack)


@dataclass(slots=True, kw_only=True)
class _Prepared:
    """A planned pull whose objects are in the store. Files, index and refs are still unchanged."""

    lock: CopyLock
    worktree: Worktree
    index: IndexFile
    difference: TreeDiff
    changes: ChangeSet
    journal: PullJournal
    local: LocalFindings
    notes: tuple[str, ...]


class PullSession(CopySession):
    """A run of an existing working copy."""

    def __init__(self, run: Run, stores: StorePool, stack: ExitStack) -> None:
        super().__init__(run, stores, stack)
        self._copy = copy = stack.enter_context(opened(run, stores))
        self.store = copy.store
        if run.published.record is None:
            run.registry.add(run.target.path)
            Clone.of(run).sweep()
        if not is_warm(run):
            self.notes = recover(copy)
        reading_head = run.executor.submit(copy.head)
        self._tracking = copy.refs.read(copy.config.tracking_ref)
        self._head = reading_head.result()
        # Without a tracking ref the local branch says what we have, so that it is not fetched again, or its history
        # cut.
        self.have = self._head if self._tracking is None else self._tracking.decode()
        self._worktrees = stack.enter_context(ExitStack())
        self._writing_tracking: Future[None] | None = None
        self._prepared: _Prepared | None = None

    def deepening(self, commit: str, deeper_than: int) -> FetchQuery | None:
        """Return what brings the history that a replay of local commits needs."""
        # Without local commits the tip alone is enough: the branch gets there, wherever its history is cut.
        if self._head is None or self._head.encode() == self._tracking or self._run.repository.depth == 0:
            return None
        return deepening_query(self.store, self.have, commit, deeper_than)

    def prepare(self, fetched: Fetched) -> bool:
        """Plan the pull, and store its objects. Raises LocalChanges, ReplayConflict, CopyBusy, TreeUnsafe."""
        run, copy, tip = self._run, self._copy, fetched.commit or ""
        update = TrackingUpdate.of(copy, self._tracking, tip.encode())
        writing = run.executor.submit(partial(update.write, copy, int(run.clock()), is_retry=not is_warm(run)))
        self._writing_tracking = writing
        if self._head != tip:
            lock = self._stack.enter_context(copy.locked())
            self._prepared = self._plan(lock, update, tip)
        if self._prepared is None:
            writing.result()
        return self._prepared is not None

    def _plan(self, lock: CopyLock, update: TrackingUpdate, tip: str) -> _Prepared | None:
        """Return how to bring the branch to the tip; None if the branch has it already."""
        run, copy, timestamp = self._run, self._copy, int(self._run.clock())
        reading_index, reading_head = run.executor.submit(copy.read_index), run.executor.submit(copy.head)
        if copy.refs.head() != copy.branch:
            raise CopyUnusable("another branch was checked out while this one was fetched")
        head = reading_head.result()
        pull = plan_pull(copy, update, head, timestamp)
        if pull is None:
            return None
        difference = copy.diff(update.objects, head, pull.head)
        # Before anything is written: this raises TreeUnsafe, TreeTooLarge and ObjectTooLarge.
        plan_checkout(
            update.objects,
            head,
            pull.head,
            max_bytes=run.max_tree_bytes,
            allow_external_links=run.repository.external_links is ExternalLinks.KEEP,
        )
        changes, index = ChangeSet.of(difference), reading_index.result()
        worktree = self._worktrees.enter_context(copy.worktree())
        comparison = copy.compare_index(worktree, index, changes)
        autostash, local = AutostashResult(), compare_with_local_changes(comparison, changes, copy.workers)
        if local.obstructions:
            if head is None or not run.target.autostash:
                raise LocalChanges(describe_obstructions(local.obstructions))
            base = StashBase(head, copy.branch, copy.committer, timestamp)
            autostash = reapply(update.objects, comparison, local.obstructions, base, copy.refs)
        # Both go into the journal: to undo the pull must neither write nor remove what a person has put there.
        kept = {**autostash.local_changes, **{path: each.change for path, each in local.already_there.items()}}
        changes = changes.with_local_changes(kept)
        copy.store.add(update.objects.added)
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
                local_changes=kept,
                stash=autostash.stash,
            ),
            local=local,
            notes=pull.notes + autostash.notes + local.notes,
        )

    def flip(self) -> float:
        """Change files, index and refs, in this order."""
        assert self._prepared is not None
        assert self._writing_tracking is not None
        self._run.let_clock_tick()
        done = self._apply(self._prepared)
        self._worktrees.close()
        ending = self._run.executor.submit(self._prepared.lock.release)
        self._stack.callback(ending.result)
        self._writing_tracking.result()
        self.notes += self._prepared.notes
        self.counts = done
        self.complete_at = time.perf_counter()
        return self._run.clock()

    def _apply(self, prepared: _Prepared) -> Counts:
        """Finish what the journal says, or undo it. Raises LockLost."""
        run, copy, journal = self._run, self._copy, prepared.journal
        # The journal names objects, so they have to be on the mount before it.
        copy.store.flush()
        run.lock.check()
        # Before the first file changes. From here on the next run can finish or undo what a killed run began.
        journal.write(copy.paths, copy.store.staging)
        try:
            with prepared_branch(copy.refs, journal, run.executor) as branch:
                store_stash(copy.refs, journal)
                entries, done = apply.apply(
                    prepared.worktree, prepared.changes, copy.store, run.check_deadline, copy.workers
                )
                entries |= {path: each.entry for path, each in prepared.local.already_there.items()}
                content = prepared.index.patch(entries, trees=prepared.difference.new_trees)
                apply.write_index(copy.paths, copy.store.staging, content)
                run.lock.check()
                update_refs(copy.refs, journal, branch.result(), run.executor, is_retry=not is_warm(run))
        except (OutOfTime, LockLost):
            raise  # the next run finds the journal, and finishes
        except Exception:
            with suppress(Exception):
                # Where the lock was lost, another run has gone on from the journal.
                run.lock.check()
                undo(copy, journal)
            raise
        return done

    def tidy(self) -> tuple[str, ...]:
        """Repack what pulls wrote, if this run pulled."""
        return repacked(self.store) if self._prepared is not None else ()
