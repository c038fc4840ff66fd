"""A run of one target that is a working copy, under its repository's lock: what `git pull --rebase` does.

recover → fetch → decide → look what is in the way → objects, journal → files → index → refs → record
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from handler.config.targets import refuse_too_many
from handler.errors import CopyUnusable, LocalChanges, MirrorDamaged, OutOfTime
from handler.model import Counts, Durations, Outcome, OutcomeKind
from handler.mount.fs.errno_map import as_failure
from handler.mount.fs.files import is_there
from handler.mount.git.fetch import Fetched, Fetcher, Have
from handler.mount.git.objects import BLOB, TREE
from handler.mount.git.plan import plan_change
from handler.mount.git.store_pool import StorePool
from handler.mount.target.recording import Recording, milliseconds_since, push_to_visible, reason_of
from handler.mount.target.run import Run
from handler.mount.working_copy import apply
from handler.mount.working_copy.apply import ApplyResult
from handler.mount.working_copy.autostash import can_reapply, keep_stash, last_if_same, notes_on_stash, reapply
from handler.mount.working_copy.branch import branch_begun, write_refs
from handler.mount.working_copy.clone import Clone
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.gitdir.refs import Refs
from handler.mount.working_copy.gitdir.staging_area import StagingArea
from handler.mount.working_copy.gitdir.validate import validate
from handler.mount.working_copy.index.entry import IndexEntry
from handler.mount.working_copy.journal import PullJournal
from handler.mount.working_copy.local_changes import ChangeSet, LocalChange, find_obstructions, named
from handler.mount.working_copy.open_copy import OUR_NAME, CopyLock, OpenCopy
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.parallel import Crew
from handler.mount.working_copy.paths import CopyPaths, prepare_own
from handler.mount.working_copy.plan import plan_pull
from handler.mount.working_copy.recovery import recover, undo
from handler.mount.working_copy.tracking import TrackingUpdate
from handler.mount.working_copy.worktree import Worktree

_MAX_NAMED = 20
"""Paths that a note names."""


@dataclass(frozen=True, slots=True)
class Pulling:
    """A run of one working copy; `about` is the outcome if there is nothing to do."""

    work: Run
    stores: StorePool
    about: Outcome
    is_sure: bool = False
    """Whether nobody else pulled here since this process did, and that went well: no killed run left anything then."""

    def pull(self) -> Outcome:
        """Bring the copy to what the remote says, with the local commits upon it. Raises Git2EfsError, OSError.

        What is damaged here is never thrown away, as a mirror is: commits may be in it that are nowhere else.
        """
        paths = CopyPaths(self.work.directory.paths.directory)
        try:
            if self.work.published.record is None:
                self._refuse_place()
            if not is_there(paths.git) and not (new := Clone.of(self.work)).prepare():
                return self._create(new)
            return self._pull(paths)
        except MirrorDamaged as error:
            raise CopyUnusable(
                f"the working copy's objects are damaged, and only a person can mend them: {error}"
            ) from None

    def _refuse_place(self) -> None:
        """Raise TargetOccupied or TooManyTargets where no target may be that is not one yet."""
        work = self.work
        work.directory.refuse_nested()
        refuse_too_many(work.repository, work.registry.read(), work.target, work.settings.max_targets)

    # -- the first time ----------------------------------------------------------------------------------------------

    def _create(self, new: Clone) -> Outcome:
        work, started = self.work, time.perf_counter()
        work.registry.add(work.target.path)
        store = CopyStore(new.git)
        try:
            store.refresh()
            settled = self._settle(store, None)
            about = self._fetched(settled, started)
            if settled.commit is None:
                return replace(about, kind=OutcomeKind.IGNORED, reason="ref_gone")
            work.begin(settled.commit)
            started = time.perf_counter()
            written, plan = new.finish(store, settled.commit, OUR_NAME)
        finally:
            store.close()
        done = ApplyResult(written.files, 0, written.bytes)
        notes = tuple(f"{path!r} is a submodule: an empty directory" for path in plan.submodules[:_MAX_NAMED])
        with self._opened(CopyPaths(work.directory.paths.directory)) as copy:
            return self._published(copy.store, settled, about, done, started, notes)

    # -- every other time --------------------------------------------------------------------------------------------

    def _pull(self, paths: CopyPaths) -> Outcome:
        with self._opened(paths) as copy:
            if self.work.published.record is None:
                self.work.registry.add(self.work.target.path)
                Clone.of(self.work).sweep()
            notes = () if self.is_sure else recover(copy)
            heading = self.work.executor.submit(copy.head)
            tracking, head = copy.refs.read(copy.config.tracking_ref), heading.result()
            started = time.perf_counter()
            # Without a tracking ref, what is here is still not fetched again, and its history not cut.
            settled = self._settle(copy.store, head if tracking is None else tracking.decode())
            about = replace(self._fetched(settled, started), notes=notes)
            if settled.commit is None:
                return replace(about, kind=OutcomeKind.IGNORED, reason="ref_gone")
            tracked = TrackingUpdate.of(copy, tracking, settled.commit.encode())
            tracking_it = self.work.executor.submit(
                partial(tracked.write, copy, int(self.work.clock()), is_again=not self.is_sure)
            )
            if head == settled.commit:
                tracking_it.result()
                return self._unchanged(copy, settled, about)
            with copy.locked() as hold:
                return self._bring(copy, hold, settled, tracked, tracking_it, about)

    def _bring(
        self,
        copy: OpenCopy,
        hold: CopyLock,
        settled: Fetched,
        tracked: TrackingUpdate,
        tracking_it: "Future[None]",
        about: Outcome,
    ) -> Outcome:
        """Bring the branch to the tip, under the copy's lock. `tracking_it` waits until the tracking ref is written."""
        work, tip = self.work, settled.commit or ""
        started, at = time.perf_counter(), int(work.clock())
        reading, heading = work.executor.submit(copy.read_index), work.executor.submit(copy.head)
        if copy.refs.head() != copy.branch:
            raise CopyUnusable("another branch was checked out while this one was fetched")
        head = heading.result()
        pulled = plan_pull(copy, tracked, head, at)
        if pulled is None:
            tracking_it.result()
            return self._unchanged(copy, settled, about)
        difference = copy.differences(pulled.objects, head, pulled.head)
        self._check(pulled.objects, head, pulled.head)
        changes, index, stash = ChangeSet.of(difference), reading.result(), None
        with copy.worktree() as worktree:
            glance = copy.compare_index(worktree, index, changes)
            kept: Mapping[bytes, LocalChange] = {}
            if in_the_way := find_obstructions(glance, changes, index.below, copy.crew):
                if head is None or not work.target.autostash or not can_reapply(in_the_way, glance):
                    raise LocalChanges(named(in_the_way))
                carried = reapply(pulled.objects, glance, in_the_way, head, copy.branch, copy.committer, at)
                kept = carried.kept
                stash = carried.stash and last_if_same(pulled.objects, copy.refs, carried.stash)
                changes = changes.with_kept(kept)
            work.begin(tip)
            copy.store.add(pulled.objects.added)
            committer = copy.committer.decode("utf-8", "surrogateescape")
            held = None if stash is None else stash.decode()
            journal = PullJournal(copy.branch, head, pulled.head, committer, at, pulled.lines, kept, held)
            patch = partial(index.patch, trees=difference.new_trees)
            done = self._carry_out(copy, journal, worktree, changes, patch)
        notes = about.notes + pulled.notes + notes_on_stash(kept, stash)
        ending = work.executor.submit(hold.end)
        try:
            tracking_it.result()
            return self._published(copy.store, settled, about, done, started, notes)
        finally:
            ending.result()

    def _carry_out(
        self,
        copy: OpenCopy,
        journal: PullJournal,
        worktree: Worktree,
        changes: ChangeSet,
        patch: Callable[[Mapping[bytes, IndexEntry | None]], bytes],
    ) -> ApplyResult:
        """Do what the journal says, to the end or back; `patch` makes the new index of what changed in it."""
        work = self.work
        copy.store.shown()
        journal.write(copy.paths, copy.store.scratch)
        try:
            with branch_begun(copy.refs, journal, work.executor) as branch:
                keep_stash(copy.refs, journal)
                entries, done = apply.apply(worktree, changes, copy.store, work.check_time, copy.crew)
                apply.write_index(copy.paths, copy.store.scratch, patch(entries))
                write_refs(copy.refs, journal, branch.result(), work.executor, is_first=self.is_sure)
        except OutOfTime:
            raise  # the next run finds the journal, and goes on
        except Exception:
            with suppress(Exception):
                undo(copy, journal)
            raise
        return done

    def _check(self, objects: MemoryOverlay, old: str | None, new: str) -> None:
        """Refuse what must not be written, before anything is. Raises TreeUnsafe."""
        plan_change(
            partial(objects.read, kind=TREE),
            partial(objects.read, kind=BLOB),
            None if old is None else objects.tree_of(old),
            objects.tree_of(new),
            allow_external_links=self.work.repository.allow_external_links,
        )

    # -- what both have in common ------------------------------------------------------------------------------------

    @contextmanager
    def _opened(self, paths: CopyPaths) -> Iterator[OpenCopy]:
        """Open the copy, if it is one that can be pulled into. Raises CopyUnusable, MirrorDamaged, OSError."""
        target, repository = self.work.target, self.work.repository
        config = validate(paths.root, repository.url, target.ref)
        if not self.is_sure:
            prepare_own(paths)
        # Not looked at afresh, though others may have packed it anew: it sees that by itself, where it matters.
        with self.stores.borrow_as(CopyStore, paths.git, is_unchanged=True) as store:
            store.beside = self.work.executor
            # Files of one directory are made one after the other, and refs change beside all else.
            scratch = StagingArea(paths.own_refs) if self.work.is_slow else None
            refs = Refs(paths.git, makes_logs=config.makes_logs, scratch=scratch)
            crew = Crew(self.work.settings.checkout_workers, self.work.is_slow)
            yield OpenCopy(paths, config, target.ref, store, refs, crew)

    def _settle(self, store: CopyStore, tracking: str | None) -> Fetched:
        work = self.work
        source = Fetcher(
            work.remote,
            store,
            work.repository.depth,
            work.settings.max_pack_bytes,
            work.settings.lag_seconds,
            work.check_time,
            work.clock,
            work.sleep,
        )
        record = work.published.record
        pushed_at = record.pushed_at if record is not None and record.ref == work.target.ref else None
        known = Have(tracking, pushed_at)
        return source.fetch(work.target.ref, work.trigger.push, known, is_side_by_side=not work.trigger.is_late)

    def _fetched(self, settled: Fetched, started: float) -> Outcome:
        return replace(
            self.about,
            counts=Counts(bytes_fetched=settled.bytes_fetched),
            durations=Durations(fetch_ms=milliseconds_since(started)),
        )

    def _unchanged(self, copy: OpenCopy, settled: Fetched, about: Outcome) -> Outcome:
        Recording(self.work, copy.store).record_confirmed(settled)
        return replace(about, commit=settled.commit, previous_commit=settled.commit)

    def _published(
        self,
        store: CopyStore,
        settled: Fetched,
        about: Outcome,
        done: ApplyResult,
        started: float,
        notes: tuple[str, ...],
    ) -> Outcome:
        work, visible_at, tip = self.work, self.work.clock(), settled.commit
        assert tip is not None
        counts = replace(
            about.counts,
            files_written=done.files_written,
            files_removed=done.files_removed,
            bytes_written=done.bytes_written,
        )
        durations = replace(about.durations, checkout_ms=milliseconds_since(started))
        Recording(work, store).record_published(tip, settled, visible_at, counts)
        try:
            store.maintain()
        except Exception as error:
            notes += (f"after the pull: {as_failure(error)}",)
        return replace(
            about,
            kind=OutcomeKind.PUBLISHED,
            reason=reason_of(settled, work.trigger.push),
            commit=tip,
            counts=counts,
            durations=durations,
            push_to_visible_seconds=push_to_visible(work.trigger.push, settled, visible_at),
            notes=notes,
        )
