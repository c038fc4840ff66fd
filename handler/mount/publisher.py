"""The mount side in this process: everything that touches the mount, and nothing that needs a network.

The network side only knows `exchange.publisher`'s `Publisher`. Here the mount's OSErrors become our failures: none of
them leaves this side.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import Git2EfsError, MirrorDamaged
from handler.exchange.answers import Failure, Need
from handler.exchange.events import Emit, Event, EventKind, PendingEvent, pending
from handler.exchange.publisher import PublishAnswer, PublishRequest
from handler.model import Counts, Outcome, OutcomeKind, Repository, Target
from handler.mount.fs.errno_map import as_failure, mount_errors
from handler.mount.fs.files import resolved
from handler.mount.fs.lock import GenerationCache, locked
from handler.mount.fs.parallel import OPEN_FILES, Workers
from handler.mount.git.mirror import StorePool
from handler.mount.reconcile import Reconciler
from handler.mount.target.layout import RepositoryPaths
from handler.outcome import RunFailed, outcome_of
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.exchange.operations import Operations
    from handler.exchange.publisher import MaintenanceResult, SurveyFinding, SurveyItem
    from handler.exchange.schedule_state import ScheduleState


class LocalPublisher:
    """Publishes to one mount, in this process. Safe for threads."""

    # What only the schedule and operators use is imported where it is used: a push does not pay for it.

    def __init__(
        self,
        settings: Settings,
        *,
        progress: Callable[[str, int, int], None],
        say: Callable[[str], None] = lambda sentence: None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """During a long check-out `progress` is called with the target and with how many of how many files are written.

        `say` is called with a sentence about what a long operator's command is doing.
        """
        OPEN_FILES.limit_to(settings.max_open_files)
        settings = replace(settings, mount=resolved(settings.mount))
        self._settings = settings
        self._clock = clock
        self._say = say
        self._mirrors = StorePool(settings.max_object_bytes)
        self._reconciler = Reconciler(
            settings=settings,
            mirrors=self._mirrors,
            cache=GenerationCache(),
            progress=progress,
            workers=Workers(settings.checkout_workers),
            slow_workers=Workers(settings.checkout_workers, is_slow=True),
            clock=clock,
            sleep=sleep,
        )

    def close(self) -> None:
        """Close what is kept open."""
        self._mirrors.close()

    def publish(self, request: PublishRequest) -> PublishAnswer:
        """See `Publisher.publish`."""
        events: list[Event] = []
        emit = self._emit_into(events)
        try:
            try:
                found = self._reconciler.reconcile(request, emit)
            except RunFailed as failed:
                if not isinstance(failed.error, MirrorDamaged):
                    raise
                # The mirror was emptied. What is published stays; the objects are fetched anew, the tree written whole.
                found = self._reconciler.reconcile(request, emit)
        except RunFailed as failed:
            found = self._failed(request, failed)
        except Exception as error:  # also a defect: this target fails with it, the others do not
            found = self._failed(request, RunFailed(as_failure(error)))
        told = tuple(map(pending, events))
        if isinstance(found, Need):
            return PublishAnswer(need=found, events=told)
        self._discard_transfers(request)
        return PublishAnswer(outcome=found, events=told)

    def _emit_into(self, events: list[Event]) -> Emit | None:
        return events.append if self._settings.event_bus else None

    def _discard_transfers(self, request: PublishRequest) -> None:
        """Remove the packs that came in parts, and that the run has not taken."""
        if transfers := [answer.transfer for answer in request.answers.packs if answer.transfer is not None]:
            from handler.mount.git.incoming import discard

            with suppress(OSError):  # they are swept after an hour
                discard(self._paths(request.repository.full_name).incoming, transfers)

    def receive(self, repository: str, *, transfer: str, offset: int, content: bytes) -> int:
        """See `Publisher.receive`."""
        from handler.mount.git.incoming import write_part

        with mount_errors():
            return write_part(
                self._paths(repository).incoming,
                transfer,
                offset=offset,
                content=content,
                max_bytes=self._settings.max_pack_bytes,
                clock=self._clock,
            )

    def announced(self, event: PendingEvent) -> Outcome | None:
        """See `Publisher.announced`."""
        from handler.mount.releases.retire import finish
        from handler.mount.target.directory import TargetDirectory
        from handler.mount.target.notify import note_announced
        from handler.mount.target.registry import TargetRegistry

        paths = self._paths(event.repository)
        directory = TargetDirectory.at(self._settings.mount, event.path, self._clock)
        with mount_errors(), locked(paths.lock, self._settings.lock_seconds) as lock:
            if event.kind is EventKind.RETIRED:
                # What other processes know of the repository is not true any more.
                lock.stamp_generation()
                registry = TargetRegistry.of(self._settings.mount, event.repository)
                return finish(directory.held_by(lock), event, paths, registry)
            # No stamp: no process caches a record, and the next push need not list what is there anew.
            lock.note_generation()
            note_announced(directory.guarded_by(lock), event)
        return None

    def look(self, repository: str, target: Target) -> Outcome:
        """See `Publisher.look`."""
        outcome = Outcome(kind=OutcomeKind.UNCHANGED, reason="already_published", repository=repository)
        return self._with_published(replace(outcome, ref=target.ref, path=target.path), target)

    def _failed(self, request: PublishRequest, failed: RunFailed) -> Outcome:
        """Return the outcome of a failure, with what readers of the target have meanwhile. Raises no Exception."""
        target, push = request.target, request.push
        outcome = replace(
            outcome_of(failed.error),
            repository=request.repository.full_name,
            ref=target.ref,
            path=target.path,
            refused_commit=failed.refused_commit or (push.after if push is not None else None),
            counts=Counts(bytes_fetched=request.answers.bytes_fetched),
            durations=failed.durations,
        )
        return self._with_published(outcome, target)

    def _with_published(self, outcome: Outcome, target: Target) -> Outcome:
        try:
            found = self._reconciler.directory(target).read_published()
        except (Git2EfsError, OSError):
            return outcome  # the first failure is the one to tell
        asked_at = found.record.asked_at if found.record else 0.0
        age = max(0.0, self._clock() - asked_at) if asked_at else None
        return replace(outcome, commit=found.confirmed_commit, last_success_age_seconds=age)

    def make_spares(self, repository: Repository, target: Target, *, deadline: Deadline) -> Counts:
        """See `Publisher.make_spares`."""
        from handler.mount.maintenance.spares import make_spares

        request = PublishRequest(
            repository=repository,
            target=target,
            push=None,
            delivery="",
            received_at=self._clock(),
            deadline=deadline,
            makes_spares=True,
        )
        with mount_errors():
            return make_spares(self._reconciler, request)

    def survey(self, items: "Sequence[SurveyItem]") -> "tuple[SurveyFinding, ...]":
        """See `Publisher.survey`."""
        return tuple(map(self._survey, items))

    def _survey(self, item: "SurveyItem") -> "SurveyFinding":
        from handler.exchange.publisher import SurveyFinding
        from handler.mount.maintenance.drift import DriftDetector

        try:
            with mount_errors():
                return SurveyFinding(DriftDetector(self._settings, self._clock).detect(item.repository, item.refs))
        except Exception as error:  # also a defect: this repository fails with it, the others do not
            failure = as_failure(error)
            return SurveyFinding(failed=Failure(failure.reason, str(failure)))

    def published_refs(self, repository: str) -> tuple[str, ...]:
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

    def take_lease(self, task: str, *, run: str, until: float) -> "ScheduleState":
        """See `Publisher.take_lease`."""
        from handler.mount.maintenance.state import take_lease

        with mount_errors():
            return take_lease(self._settings.mount, task, run=run, until=until, now=self._clock())

    def end_lease(self, task: str, *, run: str, state: "ScheduleState | None") -> None:
        """See `Publisher.end_lease`."""
        from handler.mount.maintenance.state import end_lease

        with mount_errors():
            end_lease(self._settings.mount, task, run=run, state=state, now=self._clock())

    def _paths(self, repository: str) -> RepositoryPaths:
        return RepositoryPaths.of(self._settings.mount, repository)

    @property
    def is_remote(self) -> bool:
        """See `Publisher.is_remote`."""
        return False

    def is_warm(self) -> bool:
        """See `Publisher.is_warm`."""
        return True

    @property
    def operations(self) -> "Operations":
        """See `Publisher.operations`."""
        from handler.mount.operations.local import LocalOperations

        return LocalOperations(
            settings=self._settings,
            mirrors=self._mirrors,
            emit_into=self._emit_into,
            clock=self._clock,
            say=self._say,
        )
