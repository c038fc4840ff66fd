"""The network side's way to publish a target: one run after the other for each repository, and their events."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from handler.config.names import default_path, path_problem
from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import Git2EfsError, LockTimeout
from handler.exchange.events import PendingEvent, PutEvent
from handler.exchange.publisher import Publisher
from handler.model import Counts, Durations, Outcome, OutcomeKind, Repository, Target
from handler.network.driven_run import DrivenRun
from handler.network.guess import KnownTargets, Look
from handler.network.remote import Remote
from handler.network.trigger import Trigger
from handler.outcome import RunFailed, as_failure
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.network.background import Background

_LONGEST_LOOK_SECONDS = 10.0
_LATE_SECONDS = 0.02
"""A run that waited longer than this for another one of the same process was probably overtaken."""


@dataclass(slots=True)
class _Turn:
    """One run of a repository at a time; `count` are those that have or await the turn."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0


class Driver:
    """Publishes targets through the mount side. Safe for threads."""

    def __init__(
        self,
        publisher: Publisher,
        *,
        put: PutEvent | None,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`put` puts an event on the bus, and returns whether it took it; None: there is no bus."""
        self._publisher = publisher
        self._max_pack_bytes = settings.max_pack_bytes
        self._clock = clock
        self._sleep = sleep
        self._put = put
        self._lock_seconds = settings.lock_seconds
        self._known = KnownTargets()
        self._turns: dict[str, _Turn] = {}
        self._waking: Future[Look] | None = None
        self._lock = threading.Lock()
        # In this process a thread makes spares, where there may be one; a publisher function is not waited for.
        self._has_spares = settings.spare_files > 0 and (publisher.is_remote or settings.background)
        self._background = _background() if self._has_spares and not publisher.is_remote else None

    def close(self) -> None:
        """Begin no more work that nobody waits for. What is under way ends with the process, which does no harm."""
        if self._background is not None:
            self._background.close()

    @contextmanager
    def waking(self, repository: str, ref: str, deadline: Deadline) -> Iterator[None]:
        """Within the block, have a mount side that sleeps wake up: by a look, beside what the block does.

        The look is at the path where `ref` usually goes; if it is another one, the answer is of no use, and the mount
        side is awake all the same. Raises nothing of its own.
        """
        looked = self._start_look(repository, ref)
        try:
            yield
        finally:
            if looked is not None:
                # Lambda freezes the process after the answer: a call that is under way then would hang at the thaw.
                wait([looked], deadline.bound(_LONGEST_LOOK_SECONDS))
                self._waking = None

    def _start_look(self, repository: str, ref: str) -> "Future[Look] | None":
        """Begin with the look; None where none is needed, or one is under way."""
        path = default_path(repository, ref)
        if not self._publisher.is_remote or self._publisher.is_warm() or path_problem(path):
            return None
        with self._lock:
            if self._waking is not None:
                return None
            looked = self._waking = Future()
        target = Target(ref=ref, path=path)
        threading.Thread(target=self._look, args=(repository, target, looked), name="look", daemon=True).start()
        return looked

    def _look(self, repository: str, target: Target, looked: "Future[Look]") -> None:
        try:
            looked.set_result(Look(target.path, self._publisher.look(repository, target).commit))
        except BaseException as error:  # who waits for it must not do so for ever
            looked.set_exception(error)

    def reconcile(
        self,
        repository: Repository,
        target: Target,
        remote: Remote,
        trigger: Trigger,
        begin: Callable[[str], None] = lambda commit: None,
    ) -> Outcome:
        """Make the target's `current` equal the tip of its ref; a failure of the mount or the remote is the outcome.

        `begin` is called with the commit that is most likely about to be published. Raises RunFailed, for
        PublisherUnavailable and PublisherRefused say; and LockTimeout.
        """
        with self._turn(repository.full_name, trigger) as is_overtaken:
            run = DrivenRun(
                publisher=self._publisher,
                makes_spares=self._makes_spares(repository, target),
                known=self._known,
                put_events=self.put_events,
                max_pack_bytes=self._max_pack_bytes,
                clock=self._clock,
                sleep=self._sleep,
                repository=repository,
                target=target,
                remote=remote,
                trigger=trigger,
                begin=begin,
                waking=self._waking,
            )
            try:
                outcome = run.drive(
                    is_probably_done=not self._publisher.is_remote and (is_overtaken or trigger.is_late)
                )
            except Exception as error:
                # With what it has cost: a publisher that is killed may have been sent gigabytes before.
                raise RunFailed(
                    as_failure(error),
                    refused_commit=_last_named(run),
                    counts=Counts(bytes_fetched=run.bytes_fetched),
                    durations=Durations(fetch_ms=run.network_seconds * 1000),
                ) from error
        if outcome.kind is OutcomeKind.PUBLISHED and self._makes_spares(repository, target):
            self._make_spares(repository, target)
        return outcome

    def _makes_spares(self, repository: Repository, target: Target) -> bool:
        return self._has_spares and repository.spares > 0 and not target.is_copy

    def _make_spares(self, repository: Repository, target: Target) -> None:
        """Have the trees made that the next pushes need, without waiting for it. Raises nothing."""

        def make() -> None:
            # Without spares the next push costs more, and ends as well.
            with suppress(Git2EfsError):
                self._publisher.make_spares(repository, target, deadline=NO_DEADLINE)

        if self._background is None:
            make()
        else:
            self._background.submit(target.path, make)

    @contextmanager
    def _turn(self, repository: str, trigger: Trigger) -> Iterator[bool]:
        """Be this process's only run of the repository; yield whether it had to wait for another one.

        The lock on the mount is for all processes, but held for the publish alone: without this turn each delivery of a
        burst would fetch what the one before it is about to publish.
        """
        with self._lock:
            turn = self._turns.setdefault(repository, _Turn())
            turn.count += 1
        started = time.monotonic()
        try:
            if not turn.lock.acquire(timeout=trigger.deadline.bound(self._lock_seconds)):
                raise LockTimeout(f"another run of this process worked on {repository} all the time")
            try:
                yield time.monotonic() - started > _LATE_SECONDS
            finally:
                turn.lock.release()
        finally:
            with self._lock:
                turn.count -= 1
                if turn.count == 0:
                    del self._turns[repository]

    def put_events(self, events: tuple[PendingEvent, ...]) -> Outcome | None:
        """Put events on the bus, and tell the mount side which it took; return the outcome of what waited for that.

        Raises nothing: what the mount side does not hear of is put again by the next run.
        """
        outcome = None
        for event in events:
            if self._put is not None and self._put(event):
                with suppress(Git2EfsError):
                    outcome = self._publisher.announced(event) or outcome
        return outcome


def _background() -> "Background":
    # Imported when it is used: functions have none.
    from handler.network.background import Background

    return Background()


def _last_named(run: DrivenRun) -> str | None:
    """Return the commit that the ref named when it was last asked for; None where it was not, or names none."""
    tip = run.refs[-1].tip if run.refs else None
    return tip.commit if tip is not None else None
