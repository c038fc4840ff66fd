"""The one operation: make a target's `current` equal to the tip of its ref.

lock → fetch → plan → check out → flip → tell → record → prune. Idempotent: a push, a redelivery and a timer all only
say "look now"; there is no first time, and whoever comes late finds the work done.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from handler.errors import MirrorDamaged, TargetOccupied
from handler.exchange.events import Emit
from handler.exchange.remote import Remote
from handler.exchange.trigger import Trigger
from handler.model import Outcome, OutcomeKind, Repository, Target
from handler.mount.fs.executor import Executor
from handler.mount.fs.generation_cache import GenerationCache, Releases
from handler.mount.fs.lock import locked
from handler.mount.git.store_pool import StorePool, discard_mirror
from handler.mount.releases.publish import Publishing
from handler.mount.target.directory import Published, TargetDirectory
from handler.mount.target.hold import Holding, is_held
from handler.mount.target.layout import RepositoryPaths
from handler.mount.target.notify import has_pending_event
from handler.mount.target.run import Run
from handler.settings import Settings

LATE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Reconciles targets on one mount. Safe for threads."""

    settings: Settings
    mirrors: StorePool
    cache: GenerationCache
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    progress: Callable[[str, int, int], None] = lambda about, done, total: None
    """Told about a long check-out: what it is, and how many of how many files are written."""
    emit: Emit | None = None
    """Takes an event, and says whether the bus took it; None where nobody is told."""

    def reconcile(
        self,
        repository: Repository,
        target: Target,
        remote: Remote,
        request: Trigger,
        begin: Callable[[str], None] = lambda commit: None,
    ) -> Outcome:
        """Bring the target to what the remote says. Raises Git2EfsError, and OSError for what the mount says.

        `begin` hears which commit is about to be published, once it is known and is another than what is there.
        """
        paths = RepositoryPaths.of(self.settings.mount, repository.full_name)
        with (
            locked(paths.lock, request.deadline.bound(self.settings.lock_seconds)) as hold,
            Executor(is_slow=hold.is_slow) as beside,
        ):
            # Whoever waited finds most often that another run has published what it came for: then the commit is not
            # fetched before the ref is known.
            request = replace(request, is_late=request.is_late or hold.waited_seconds > LATE_SECONDS)
            directory = self.directory(target)
            finding = beside.submit(directory.read_published)
            found_mark, mark = hold.stamp_generation()
            key = f"{paths.lock}#{target.path}" if target.is_copy else paths.lock
            known = self.cache.pop(key, found_mark)
            found = finding.result()
            work = Run(
                self.settings,
                repository,
                target,
                remote,
                request,
                paths,
                directory,
                found,
                beside,
                hold.is_slow,
                self.clock,
                self.sleep,
                self.progress,
                self.emit,
                begin,
            )
            try:
                outcome, known = self._run(work, known)
            except MirrorDamaged:
                # What is published stays; only the objects are fetched anew, and the tree is written whole.
                discard_mirror(paths.mirror)
                outcome, known = self._run(work, None)
            if known is not None:
                self.cache.put(key, mark, known)
            return outcome

    def directory(self, target: Target) -> TargetDirectory:
        """Return the target's directory on the mount."""
        return TargetDirectory(self.settings.mount, target.path, self.clock, is_copy=target.is_copy)

    def _run(self, work: Run, known: Releases | None) -> tuple[Outcome, Releases | None]:
        """Return the outcome, and what is known of the repository's targets now; None after trouble."""
        repository, target, found = work.repository, work.target, work.published
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
        if is_held(found, work.directory):
            Holding(work.directory, target.path, self.emit, self.mirrors, work.paths.mirror).bring_up_to_date(found)
            # No age: it is a person's wish, and no failure, that readers have something older.
            return replace(about, kind=OutcomeKind.IGNORED, reason="held", last_success_age_seconds=None), known
        if _is_settled_since(found, target, work.trigger) and not has_pending_event(self.emit, found.record):
            return about, known
        if target.is_copy:
            # A lazy import: who keeps no working copies does not pay for merging and replaying.
            from handler.mount.working_copy.pull import Pulling

            # Of a working copy nothing is remembered but that the last run here was this process's, and went well.
            return Pulling(work, self.mirrors, about, is_sure=known is not None).pull(), {}
        with self.mirrors.borrow(work.paths.mirror, is_unchanged=known is not None) as mirror:
            return Publishing(work, mirror, about).publish(known)


def _is_settled_since(found: Published, target: Target, request: Trigger) -> bool:
    """Whether another run asked the remote after this delivery came, for a push no older: then all is said.

    Such is the lot of most who waited for the lock in a burst.
    """
    record = found.record
    if record is None or record.commit != found.commit or record.ref != target.ref:
        return False
    pushed_at = request.push.pushed_at if request.push is not None else None
    is_newer_than_all = pushed_at is not None and pushed_at > (record.pushed_at or 0)
    return record.asked_at >= request.received_at and not is_newer_than_all
