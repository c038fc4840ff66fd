"""The mount side in this process: everything that touches the mount, and nothing that needs a network.

The entry points make one `LocalPublisher` and hand it to the network side, which only knows `exchange.publisher`'s
`Publisher`. Here the mount's OSErrors become our failures: none of them leaves this side.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import Git2EfsError, MirrorDamaged
from handler.exchange.events import Emit
from handler.exchange.remote import Remote, RemoteRefs
from handler.exchange.trigger import Trigger
from handler.model import Outcome, Repository, Target
from handler.mount.fs.errno_map import as_failure, mount_errors
from handler.mount.fs.lock import GenerationCache, locked
from handler.mount.fs.parallel import Workers
from handler.mount.git.mirror import StorePool
from handler.mount.reconcile import Reconciler
from handler.outcome import outcome_of
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.exchange.drift import RepositoryDrift
    from handler.exchange.operations import Operations
    from handler.exchange.publisher import MaintenanceResult
    from handler.exchange.schedule_state import ScheduleState


class LocalPublisher:
    """Publishes to one mount, in this process. Safe for threads."""

    # What only the schedule and operators use is imported where it is used: a push does not pay for it.

    def __init__(
        self,
        settings: Settings,
        *,
        emit: Emit | None,
        progress: Callable[[str, int, int], None],
        say: Callable[[str], None] = lambda sentence: None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`emit` puts an event, and returns whether the bus took it; None: no events.

        During a long check-out `progress` is called with the target and with how many of how many files are written.
        `say` is called with a sentence about what a long operator's command is doing.
        """
        self._settings = settings
        self._clock = clock
        self._emit = emit
        self._say = say
        self._mirrors = StorePool(settings.max_object_bytes)
        self._reconciler = Reconciler(
            settings=settings,
            mirrors=self._mirrors,
            cache=GenerationCache(),
            progress=progress,
            emit=emit,
            workers=Workers(settings.checkout_workers),
            slow_workers=Workers(settings.checkout_workers, is_slow=True),
            clock=clock,
            sleep=sleep,
        )

    def close(self) -> None:
        """Close what is kept open."""
        self._mirrors.close()

    def reconcile(
        self,
        repository: Repository,
        target: Target,
        remote: Remote,
        trigger: Trigger,
        begin: Callable[[str], None] = lambda commit: None,
    ) -> Outcome:
        """See `Publisher.reconcile`."""
        try:
            try:
                return self._reconciler.reconcile(repository, target, remote, trigger, begin)
            except MirrorDamaged:
                # The mirror was emptied. What is published stays; the objects are fetched anew, the tree written whole.
                return self._reconciler.reconcile(repository, target, remote, trigger, begin)
        except Exception as error:  # also a defect: this target fails with it, the others do not
            return self.failed(repository, target, as_failure(error))

    def failed(self, repository: Repository, target: Target, error: Git2EfsError) -> Outcome:
        """Return the outcome of a failure, with what readers of the target have meanwhile. Raises no Exception."""
        outcome = replace(outcome_of(error), repository=repository.full_name, ref=target.ref, path=target.path)
        try:
            found = self._reconciler.directory(target).read_published()
        except (Git2EfsError, OSError):
            return outcome  # the first failure is the one to tell
        age = max(0.0, self._clock() - found.record.asked_at) if found.record else None
        return replace(outcome, commit=found.commit, last_success_age_seconds=age)

    def drift(self, repository: Repository, refs: RemoteRefs) -> "RepositoryDrift":
        """See `Publisher.drift`."""
        from handler.mount.maintenance.drift import DriftDetector

        with mount_errors():
            return DriftDetector(self._settings, self._clock).detect(repository, refs)

    def published_refs(self, repository: Repository) -> tuple[str, ...]:
        """See `Publisher.published_refs`."""
        from handler.mount.maintenance.drift import DriftDetector

        with mount_errors():
            return DriftDetector(self._settings, self._clock).published_refs(repository)

    def maintain(
        self, repository: Repository, *, deadline: Deadline = NO_DEADLINE, resume_at: str | None = None
    ) -> "MaintenanceResult":
        """See `Publisher.maintain`."""
        from handler.mount.maintenance.maintenance import Maintenance

        maintenance = Maintenance(self._settings, self._mirrors, self._clock)
        return maintenance.maintain(repository, deadline=deadline, resume_at=resume_at)

    @contextmanager
    def schedule_state(self, task: str) -> "Iterator[ScheduleState]":
        """See `Publisher.schedule_state`."""
        from handler.mount.maintenance.state import lock_path, read_state, write_state

        mount = self._settings.mount
        with mount_errors(), locked(lock_path(mount, task), 0.0):
            state = read_state(mount, task)
            yield state
            write_state(mount, task, state)

    @property
    def operations(self) -> "Operations":
        """See `Publisher.operations`."""
        from handler.mount.operations.local import LocalOperations

        return LocalOperations(
            settings=self._settings, mirrors=self._mirrors, emit=self._emit, clock=self._clock, say=self._say
        )
