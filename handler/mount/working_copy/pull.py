"""A run of one target that is a working copy, under its repository's lock: what `git pull --rebase` does.

recover → fetch → decide → look what is in the way → objects, journal → files → index → refs → record
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from handler.config.targets import refuse_too_many
from handler.errors import CopyUnusable, LocalChanges, MirrorDamaged, OutOfTime
from handler.model import Counts, Durations, Outcome, OutcomeKind
from handler.mount.fs.errno_map import failure_of
from handler.mount.fs.files import is_there
from handler.mount.git.fetch import Known, Settled, Source
from handler.mount.git.objects import BLOB, TREE
from handler.mount.git.plan import plan_change
from handler.mount.git.store_pool import OpenStores
from handler.mount.target.recording import Recording, milliseconds_since, push_to_visible, reason_of
from handler.mount.target.run import Work
from handler.mount.working_copy import apply
from handler.mount.working_copy.apply import Done
from handler.mount.working_copy.autostash import can_carry_over, carry_over, keep_stash, last_if_same, notes_on_stash
from handler.mount.working_copy.branch import branch_begun, write_refs
from handler.mount.working_copy.clone import NewCopy
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.gitdir.refs import Refs
from handler.mount.working_copy.gitdir.staging_area import Scratch
from handler.mount.working_copy.gitdir.validate import examine
from handler.mount.working_copy.index.entry import Entry
from handler.mount.working_copy.journal import Journal
from handler.mount.working_copy.local_changes import Changes, Kept, find_in_the_way, named
from handler.mount.working_copy.open_copy import OUR_NAME, Hold, OpenCopy
from handler.mount.working_copy.overlay import Overlay
from handler.mount.working_copy.parallel import Crew
from handler.mount.working_copy.paths import CopyPaths, prepare_own
from handler.mount.working_copy.plan import decide_pull
from handler.mount.working_copy.recovery import recover, undo
from handler.mount.working_copy.tracking import Tracked
from handler.mount.working_copy.worktree import Worktree

_MAX_NAMED = 20
"""Paths that a note names."""


@dataclass(frozen=True, slots=True)
class Pulling:
    """A run of one working copy; `about` is the outcome if there is nothing to do."""

    work: Work
    stores: OpenStores
    about: Outcome
    is_sure: bool = False
    """Whether nobody else pulled here since this process did, and that went well: no killed run left anything then."""

    def pull(self) -> Outcome:
        """Bring the copy to what the remote says, with the local commits upon it. Raises Git2EfsError, OSError.

        What is damaged here is never thrown away, as a mirror is: commits may be in it that are nowhere else.
        """
        paths = CopyPaths(self.work.directory.paths.directory)
        try:
            if self.work.found.record is None:
                self._refuse_place()
            if not is_there(paths.git) and not (new := NewCopy.of(self.work)).prepare():
                return self._create(new)
            return self._pull(paths)
        except MirrorDamaged as error:
            raise CopyUnusable(
                f"the working copy's objects are damaged, and only a person can mend them: {error}"
            ) from None

    def _refuse_place(self) -> None:
        """Raise TargetOccupied or TooManyTargets where no target may be that is not one yet."""
        work = self.work
        work.directory.refuse_nested(work.settings.mount)
        refuse_too_many(work.repository, work.targets.read(), work.target, work.settings.max_targets)

    # -- the first time ----------------------------------------------------------------------------------------------

    def _create(self, new: NewCopy) -> Outcome:
        work, started = self.work, time.perf_counter()
        work.targets.add(work.target.path)
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
        done = Done(written.files, 0, written.bytes)
        notes = tuple(f"{path!r} is a submodule: an empty directory" for path in plan.submodules[:_MAX_NAMED])
        with self._opened(CopyPaths(work.directory.paths.directory)) as copy:
            return self._published(copy.store, settled, about, done, started, notes)

    # -- every other time --------------------------------------------------------------------------------------------

    def _pull(self, paths: CopyPaths) -> Outcome:
        with self._opened(paths) as copy:
            if self.work.found.record is None:
                self.work.targets.add(self.work.target.path)
                NewCopy.of(self.work).sweep()
            notes = () if self.is_sure else recover(copy)
            heading = self.work.beside.start(copy.head)
            tracking, head = copy.refs.read(copy.config.tracking_ref), heading()
            started = time.perf_counter()
            # Without a tracking ref, what is here is still not fetched again, and its history not cut.
            settled = self._settle(copy.store, head if tracking is None else tracking.decode())
            about = replace(self._fetched(settled, started), notes=notes)
            if settled.commit is None:
                return replace(about, kind=OutcomeKind.IGNORED, reason="ref_gone")
            tracked = Tracked.of(copy, tracking, settled.commit.encode())
            tracking_it = self.work.beside.start(
                partial(tracked.write, copy, int(self.work.clock()), is_again=not self.is_sure)
            )
            if head == settled.commit:
                tracking_it()
                return self._unchanged(copy, settled, about)
            with copy.locked() as hold:
                return self._bring(copy, hold, settled, tracked, tracking_it, about)

    def _bring(
        self,
        copy: OpenCopy,
        hold: Hold,
        settled: Settled,
        tracked: Tracked,
        tracking_it: Callable[[], None],
        about: Outcome,
    ) -> Outcome:
        """Bring the branch to the tip, under the copy's lock. `tracking_it` waits until the tracking ref is written."""
        work, tip = self.work, settled.commit or ""
        started, at = time.perf_counter(), int(work.clock())
        reading, heading = work.beside.start(copy.read_index), work.beside.start(copy.head)
        if copy.refs.head() != copy.branch:
            raise CopyUnusable("another branch was checked out while this one was fetched")
        head = heading()
        pulled = decide_pull(copy, tracked, head, at)
        if pulled is None:
            tracking_it()
            return self._unchanged(copy, settled, about)
        difference = copy.differences(pulled.objects, head, pulled.head)
        self._check(pulled.objects, head, pulled.head)
        changes, index, stash = Changes.of(difference), reading(), None
        with copy.worktree() as worktree:
            glance = copy.glance(worktree, index, changes)
            kept: Mapping[bytes, Kept] = {}
            if in_the_way := find_in_the_way(glance, changes, index.below, copy.crew):
                if head is None or not work.target.autostash or not can_carry_over(in_the_way, glance):
                    raise LocalChanges(named(in_the_way))
                carried = carry_over(pulled.objects, glance, in_the_way, head, copy.branch, copy.committer, at)
                kept = carried.kept
                stash = carried.stash and last_if_same(pulled.objects, copy.refs, carried.stash)
                changes = changes.with_kept(kept)
            work.begin(tip)
            copy.store.add(pulled.objects.added)
            committer = copy.committer.decode("utf-8", "surrogateescape")
            held = None if stash is None else stash.decode()
            journal = Journal(copy.branch, head, pulled.head, committer, at, pulled.lines, kept, held)
            patch = partial(index.patch, trees=difference.new_trees)
            done = self._carry_out(copy, journal, worktree, changes, patch)
        notes = about.notes + pulled.notes + notes_on_stash(kept, stash)
        ending = work.beside.start(hold.end)
        try:
            tracking_it()
            return self._published(copy.store, settled, about, done, started, notes)
        finally:
            ending()

    def _carry_out(
        self,
        copy: OpenCopy,
        journal: Journal,
        worktree: Worktree,
        changes: Changes,
        patch: Callable[[Mapping[bytes, Entry | None]], bytes],
    ) -> Done:
        """Do what the journal says, to the end or back; `patch` makes the new index of what changed in it."""
        work = self.work
        copy.store.shown()
        journal.write(copy.paths, copy.store.scratch)
        try:
            with branch_begun(copy.refs, journal, work.beside) as branch:
                keep_stash(copy.refs, journal)
                entries, done = apply.apply(worktree, changes, copy.store, work.check_time, copy.crew)
                apply.write_index(copy.paths, copy.store.scratch, patch(entries))
                write_refs(copy.refs, journal, branch(), work.beside, is_first=self.is_sure)
        except OutOfTime:
            raise  # the next run finds the journal, and goes on
        except Exception:
            with suppress(Exception):
                undo(copy, journal)
            raise
        return done

    def _check(self, objects: Overlay, old: str | None, new: str) -> None:
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
        config = examine(paths.root, repository.url, target.ref)
        if not self.is_sure:
            prepare_own(paths)
        # Not looked at afresh, though others may have packed it anew: it sees that by itself, where it matters.
        with self.stores.lent_as(CopyStore, paths.git, is_unchanged=True) as store:
            store.beside = self.work.beside
            # Files of one directory are made one after the other, and refs change beside all else.
            scratch = Scratch(paths.own_refs) if self.work.is_slow else None
            refs = Refs(paths.git, makes_logs=config.makes_logs, scratch=scratch)
            crew = Crew(self.work.settings.checkout_workers, self.work.is_slow)
            yield OpenCopy(paths, config, target.ref, store, refs, crew)

    def _settle(self, store: CopyStore, tracking: str | None) -> Settled:
        work = self.work
        source = Source(
            work.remote,
            store,
            work.repository.depth,
            work.settings.max_pack_bytes,
            work.settings.lag_seconds,
            work.check_time,
            work.clock,
            work.sleep,
        )
        record = work.found.record
        pushed_at = record.pushed_at if record is not None and record.ref == work.target.ref else None
        known = Known(tracking, pushed_at)
        return source.settle(work.target.ref, work.request.push, known, is_side_by_side=not work.request.is_late)

    def _fetched(self, settled: Settled, started: float) -> Outcome:
        return replace(
            self.about,
            counts=Counts(bytes_fetched=settled.bytes_fetched),
            durations=Durations(fetch_ms=milliseconds_since(started)),
        )

    def _unchanged(self, copy: OpenCopy, settled: Settled, about: Outcome) -> Outcome:
        Recording(self.work, copy.store).confirm(settled)
        return replace(about, commit=settled.commit, previous_commit=settled.commit)

    def _published(
        self, store: CopyStore, settled: Settled, about: Outcome, done: Done, started: float, notes: tuple[str, ...]
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
        Recording(work, store).publish(tip, settled, visible_at, counts)
        try:
            store.tend()
        except Exception as error:
            notes += (f"after the pull: {failure_of(error)}",)
        return replace(
            about,
            kind=OutcomeKind.PUBLISHED,
            reason=reason_of(settled, work.request.push),
            commit=tip,
            counts=counts,
            durations=durations,
            push_to_visible_seconds=push_to_visible(work.request.push, settled, visible_at),
            notes=notes,
        )
