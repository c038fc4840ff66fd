"""The network side's way to publish a target: one run after the other for each repository, and their events."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from handler.errors import Git2EfsError, LockTimeout
from handler.exchange.events import PendingEvent, PutEvent
from handler.exchange.publisher import Publisher
from handler.model import Counts, Durations, Outcome, Repository, Target
from handler.network.driven_run import DrivenRun
from handler.network.guess import KnownTargets
from handler.network.remote.client import HttpRemote
from handler.network.trigger import Trigger
from handler.outcome import RunFailed, as_failure

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
        max_pack_bytes: int,
        lock_seconds: float,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`put` puts an event on the bus, and returns whether it took it; None: there is no bus."""
        self._publisher = publisher
        self._max_pack_bytes = max_pack_bytes
        self._clock = clock
        self._sleep = sleep
        self._put = put
        self._lock_seconds = lock_seconds
        self._known = KnownTargets()
        self._turns: dict[str, _Turn] = {}
        self._lock = threading.Lock()

    def reconcile(
        self,
        repository: Repository,
        target: Target,
        remote: HttpRemote,
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
            )
            try:
                return run.drive(is_probably_done=not self._publisher.is_remote and (is_overtaken or trigger.is_late))
            except Exception as error:
                # With what it has cost: a publisher that is killed may have been sent gigabytes before.
                raise RunFailed(
                    as_failure(error),
                    refused_commit=run.wanted_commit(),
                    counts=Counts(bytes_fetched=run.bytes_fetched),
                    durations=Durations(fetch_ms=run.network_seconds * 1000),
                ) from error

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
