"""The one operation: make a target's `current` equal to the tip of its ref.

lock → fetch → plan → check out → flip → record → prune. Idempotent: a push, a redelivery and a timer all only say
"look now"; there is no first time, and whoever comes late finds the work done.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from handler.efs.checkout import check_out
from handler.efs.faults import fault_of
from handler.efs.layout import RepositoryPaths
from handler.efs.lock import locked
from handler.efs.record import Record
from handler.efs.releases import CheckedOut, Found, TargetDirectory
from handler.efs.target_list import TargetList
from handler.errors import Git2EfsError, MirrorDamaged, TargetOccupied
from handler.git.mirror import Mirror
from handler.git.objects import BLOB, TREE
from handler.git.open_mirrors import OpenMirrors, discard_mirror
from handler.git.plan import plan_change
from handler.git.remote import Remote
from handler.git.source import Known, Settled, Source
from handler.model import Counts, Durations, Outcome, OutcomeKind, PushEvent, Repository, Target, TreePlan
from handler.request import Request
from handler.settings import Settings

LATE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Reconciles targets on one mount. Safe for threads."""

    settings: Settings
    mirrors: OpenMirrors
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    progress: Callable[[str, int, int], None] = lambda about, done, total: None
    """Told about a long check-out: what it is, and how many of how many files are written."""

    def reconcile(self, repository: Repository, target: Target, remote: Remote, request: Request) -> Outcome:
        """Bring the target to what the remote says. Raises Git2EfsError, and OSError for what the mount says."""
        paths = RepositoryPaths.of(self.settings.mount, repository.full_name)
        with locked(paths.lock, self.settings.lock_seconds) as waited_seconds:
            # Whoever waited finds most often that another run has published what it came for: then the commit is not
            # fetched before the ref is known.
            request = replace(request, is_late=request.is_late or waited_seconds > LATE_SECONDS)
            try:
                return self._run(repository, target, remote, request, paths)
            except MirrorDamaged:
                # What is published stays; only the objects are fetched anew, and the tree is written whole.
                discard_mirror(paths.mirror)
                return self._run(repository, target, remote, request, paths)

    def directory(self, target: Target) -> TargetDirectory:
        """Return the target's directory on the mount."""
        return TargetDirectory(f"{self.settings.mount}/{target.path}", self.settings.burst_files, self.clock)

    def _run(
        self, repository: Repository, target: Target, remote: Remote, request: Request, paths: RepositoryPaths
    ) -> Outcome:
        directory = self.directory(target)
        found = directory.find()
        if found.record is not None and found.record.repository != repository.full_name:
            raise TargetOccupied(f"{target.path} is published from {found.record.repository}")
        about = Outcome(
            OutcomeKind.UNCHANGED,
            "already_published",
            repository=repository.full_name,
            ref=target.ref,
            path=target.path,
            commit=found.commit,
            previous_commit=found.commit,
            last_success_age_seconds=0.0,
        )
        if _is_settled_since(found, target, request):
            return about
        with self.mirrors.lent(paths.mirror) as mirror:
            targets = TargetList(paths.targets, self.settings.mount)
            run = _Run(self, repository, target, request, directory, found, mirror, targets, about)
            return run.publish(remote)


def _is_settled_since(found: Found, target: Target, request: Request) -> bool:
    """Whether another run asked the remote after this delivery came, for a push no older: then all is said.

    Such is the lot of most who waited for the lock in a burst.
    """
    record = found.record
    if record is None or record.commit != found.commit or record.ref != target.ref:
        return False
    pushed_at = request.push.pushed_at if request.push is not None else None
    is_newer_than_all = pushed_at is not None and pushed_at > (record.pushed_at or 0)
    return record.asked_at >= request.received_at and not is_newer_than_all


@dataclass(frozen=True, slots=True)
class _Run:
    """One target under the lock, with its mirror open."""

    reconciler: Reconciler
    repository: Repository
    target: Target
    request: Request
    directory: TargetDirectory
    found: Found
    mirror: Mirror
    targets: TargetList
    about: Outcome

    def publish(self, remote: Remote) -> Outcome:
        started = time.perf_counter()
        settled = self._settle(remote)
        about = replace(
            self.about,
            counts=Counts(bytes_fetched=settled.bytes_fetched),
            durations=Durations(fetch_ms=_milliseconds_since(started)),
        )
        if settled.commit is None:
            return replace(about, kind=OutcomeKind.IGNORED, reason="ref_gone")
        if settled.commit == self.found.commit and self.directory.has_release(settled.commit):
            self._confirm(settled)
            self.directory.sweep()
            return about
        return self._replace(settled.commit, settled, about)

    def _settle(self, remote: Remote) -> Settled:
        settings = self.reconciler.settings
        source = Source(
            remote,
            self.mirror,
            self.repository.depth,
            settings.max_pack_bytes,
            settings.lag_seconds,
            self.reconciler.clock,
            self.reconciler.sleep,
        )
        record = self.found.record
        # The record of another ref at this path says nothing about when this one was pushed.
        pushed_at = record.pushed_at if record is not None and record.ref == self.target.ref else None
        known = Known(self.found.commit, pushed_at)
        return source.settle(self.target.ref, self.request.push, known, is_side_by_side=not self.request.is_late)

    def _replace(self, wanted: str, settled: Settled, about: Outcome) -> Outcome:
        """Put the commit's tree in the place of what is published."""
        started = time.perf_counter()
        if self.found.commit is None:
            self.directory.refuse_nested(self.reconciler.settings.mount)
            self.targets.add(self.target.path)
        settings = self.reconciler.settings
        write = partial(
            check_out,
            read_blob=partial(self.mirror.read, kind=BLOB),
            workers=settings.checkout_workers,
            progress=partial(self.reconciler.progress, f"{self.target.path} at {wanted}"),
        )
        done = self.directory.make_tree(
            wanted,
            self.found.commit,
            self.repository.grace_seconds,
            self._plan,
            write,
        )
        checkout_ms = _milliseconds_since(started)
        started = time.perf_counter()
        flipped_at = self.directory.flip(wanted, self.found.commit, done)
        counts = replace(
            about.counts,
            files_written=done.written.files,
            files_removed=done.removed,
            bytes_written=done.written.bytes,
        )
        self.directory.write_record(self._record(wanted, settled, flipped_at, counts))
        durations = replace(about.durations, checkout_ms=checkout_ms, publish_ms=_milliseconds_since(started))
        trouble = self._tidy(wanted, done)
        return replace(
            about,
            kind=OutcomeKind.PUBLISHED,
            reason=_reason(settled, self.request.push),
            commit=wanted,
            counts=counts,
            durations=durations,
            push_to_visible_seconds=_push_to_visible(self.request.push, settled, flipped_at),
            notes=_notes(done) + trouble,
        )

    def _tidy(self, wanted: str, done: CheckedOut) -> tuple[str, ...]:
        """Do what is not needed for the push to be visible. Its failures are notes: the tree is published."""
        try:
            keep, grace = self.repository.keep_releases, self.repository.grace_seconds
            self.directory.prune(wanted, self.found.commit, done, grace, keep)
            self.mirror.tend(self.targets.release_commits, keeps_history=self.repository.depth == 0)
        except Git2EfsError as error:
            return (f"after the flip: {error}",)
        except OSError as error:
            return (f"after the flip: {fault_of(error)}",)
        return ()

    def _plan(self, base: str | None, wanted: str) -> TreePlan:
        return plan_change(
            partial(self.mirror.read, kind=TREE),
            partial(self.mirror.read, kind=BLOB),
            None if base is None else self.mirror.tree_of(base),
            self.mirror.tree_of(wanted),
            allow_external_links=self.repository.allow_external_links,
        )

    def _record(self, commit: str, settled: Settled, flipped_at: float, counts: Counts) -> Record:
        return Record(
            repository=self.repository.full_name,
            ref=self.target.ref,
            commit=commit,
            previous_commit=self.found.commit,
            published_at=flipped_at,
            asked_at=settled.asked_at,
            pushed_at=self._latest_pushed_at(),
            delivery=self.request.delivery,
            files_written=counts.files_written,
            files_removed=counts.files_removed,
            bytes_fetched=counts.bytes_fetched,
        )

    def _confirm(self, settled: Settled) -> None:
        """Bring the record up to date where it matters: it is missing after a kill, or the push is newer than it."""
        record, commit = self.found.record, self.found.commit
        assert commit is not None
        if record is None or record.commit != commit or record.ref != self.target.ref:
            fresh = self._record(commit, settled, self.reconciler.clock(), Counts())
            self.directory.write_record(replace(fresh, previous_commit=record.commit if record else None))
        elif self._latest_pushed_at() != record.pushed_at:
            self.directory.write_record(replace(record, asked_at=settled.asked_at, pushed_at=self._latest_pushed_at()))

    def _latest_pushed_at(self) -> int | None:
        record = self.found.record
        before = record.pushed_at if record is not None and record.ref == self.target.ref else None
        pushed_at = self.request.push.pushed_at if self.request.push is not None else None
        return max((at for at in (before, pushed_at) if at is not None), default=None)


def _reason(settled: Settled, push: PushEvent | None) -> str:
    if not settled.is_confirmed:
        return "payload_trusted"
    return "pushed" if push is not None and settled.object_id == push.after else "ref_moved_on"


def _push_to_visible(push: PushEvent | None, settled: Settled, flipped_at: float) -> float | None:
    """Seconds from the push to the flip; None where another commit than the pushed one was published."""
    if push is None:
        return None
    pushed_at = push.pushed_at if push.pushed_at is not None else push.committed_at
    if pushed_at is None or settled.object_id != push.after:
        return None
    return max(0.0, flipped_at - pushed_at)


def _notes(done: CheckedOut) -> tuple[str, ...]:
    submodules = tuple(f"{path!r} is a submodule: an empty directory" for path in done.submodules[:20])
    changed = tuple(
        f"releases/{each.commit} was changed by somebody else: it is not recycled"
        for each in done.releases
        if not each.is_intact
    )
    return submodules + changed


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
