"""The schedule's two tasks: reconcile every target that is behind its remote, and, once a day, maintenance.

GitHub does not send a webhook twice by itself, and a payload of more than 6 MB never arrives. So every few minutes we
ask remotes what their refs name: of each repository in its turn (`pace`). Mostly nothing moved, and that is all.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from handler.config.targets import left_over_sentence
from handler.deadline import Deadline
from handler.errors import Git2EfsError, LockTimeout, MirrorDamaged
from handler.exchange.drift import TargetDrift
from handler.exchange.schedule_state import RECONCILE, RepositoryState, ScheduleState
from handler.model import Outcome, OutcomeKind, Repository
from handler.network.aws.parameters import Parameters
from handler.network.aws.telemetry import Telemetry
from handler.network.queue.message import Cause, Message
from handler.network.queue.sqs import Queue
from handler.network.resync import Resync, Visit, Visited
from handler.network.trigger import Trigger
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.exchange.publisher import Publisher
    from handler.network.deliver import Deliverer

_MAX_RUNS = 4
"""Repositories that are published or maintained at a time. To ask the remotes whether they need it costs little."""
_LAST_VISIT_SECONDS = 30.0
"""With less than this left no repository is begun with."""
LEASE_SECONDS = 60.0
"""How long a killed run of the schedule keeps the next one away."""
_RECORDED = (OutcomeKind.PUBLISHED, OutcomeKind.RETIRED, OutcomeKind.FAILED, OutcomeKind.ACCEPTED)


class Schedule:
    """What one process keeps between runs."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        publisher: "Publisher",
        deliverer: "Deliverer",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`deliverer` publishes through `publisher`, and is closed with the schedule. Connects to nothing."""
        self._telemetry = telemetry
        self._clock = clock
        self._parameters = Parameters(settings)
        self._publisher = publisher
        self._deliverer = deliverer
        self._queue = Queue(settings.queue_url) if settings.queue_url else None
        self._longest_pause_seconds = float(settings.longest_pause_seconds)
        self._runs = threading.Semaphore(_MAX_RUNS)
        self._warned_of: set[str] = set()

    def close(self) -> None:
        """Close what is kept open."""
        self._deliverer.close()
        self._parameters.close()

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the stored tokens, without showing them."""
        return self._parameters.secret_problems()

    def run(self, task: str, deadline: Deadline, request_id: str) -> dict[str, object]:
        """Do one of TASKS; return its figures. Raises Git2EfsError.

        While another run is at the same task, do nothing.
        """
        started = time.perf_counter()
        with ExitStack() as stack:
            try:
                state = stack.enter_context(self._lease(task))
            except LockTimeout:
                return {"task": task, "outcome": "ignored", "reason": "already_running"}
            resync = Resync(
                parameters=self._parameters,
                published=self._publisher.operations.repositories,
                visit=self._visit(task, state, deadline),
                report=partial(self._record, task, request_id),
                state=state,
                deadline=deadline.minus(_LAST_VISIT_SECONDS),
                clock=self._clock,
                # Maintenance is once a day, and of every repository.
                longest_pause_seconds=self._longest_pause_seconds if task == RECONCILE else 0.0,
            )
            report = resync.run()
        seconds = round(time.perf_counter() - started, 1)
        summary: dict[str, object] = {"task": task, "outcome": "done", **asdict(report), "seconds": seconds}
        if task == RECONCILE:
            self._telemetry.record_resync(summary, resync.oldest_seconds(), request_id)
        return summary

    @contextmanager
    def _lease(self, task: str) -> Iterator[ScheduleState]:
        """Have the task for this run, and write its state at the end of a block that raised nothing.

        Raises LockTimeout where another run has it.
        """
        run, ended = secrets.token_hex(8), threading.Event()
        state = self._publisher.take_lease(task, run=run, until=self._clock() + LEASE_SECONDS)

        def renew() -> None:
            # Short, and taken again while the run goes on: after a kill the next run need not wait for long.
            while not ended.wait(LEASE_SECONDS / 3):
                with suppress(Git2EfsError):
                    self._publisher.take_lease(task, run=run, until=self._clock() + LEASE_SECONDS)

        renewing = threading.Thread(target=renew, name="lease", daemon=True)
        renewing.start()
        kept: ScheduleState | None = None
        try:
            yield state
            kept = state
        finally:
            ended.set()
            renewing.join()
            self._publisher.end_lease(task, run=run, state=kept)

    def _visit(self, task: str, state: ScheduleState, deadline: Deadline) -> Visit:
        if task == RECONCILE:
            return partial(self._reconcile_behind, deadline=deadline)
        return partial(self._maintain, state=state, deadline=deadline)

    def _reconcile_behind(self, repository: Repository, known: RepositoryState, deadline: Deadline) -> Visited:
        token = self._parameters.token_of(repository)
        drift, now = self._deliverer.drift(repository, token, deadline), self._clock()
        behind = drift.behind
        for target in drift.left_over:
            # Once a process: the schedule comes every few minutes, and `status` says it too.
            if target.path not in self._warned_of:
                self._warned_of.add(target.path)
                self._telemetry.warn(f"{target.path} {left_over_sentence(repository, target.ref)}")
        for ref in known.refs.keys() - set(behind):
            # Published by its own delivery meanwhile, or gone.
            del known.refs[ref]
        due = [ref for ref in behind if ref not in known.refs or now >= known.refs[ref].not_before]
        held = sum(target.is_held for target in drift.targets)
        # What the remote still names is behind as a target; the others have an end to come to.
        gone = frozenset(behind) - {target.ref for target in drift.targets if target.is_behind}
        return Visited(self._reconcile(repository, due, deadline), len(behind), held, gone, _digest(drift.targets))

    def _reconcile(self, repository: Repository, refs: Sequence[str], deadline: Deadline) -> list[Outcome]:
        """Reconcile the refs' targets; with a queue, leave that to a worker."""
        now, outcomes = self._clock(), list[Outcome]()
        for ref in refs:
            if self._queue is not None:
                self._queue.send(
                    Message(
                        cause=Cause.SCHEDULE,
                        repository=repository.full_name,
                        ref=ref,
                        delivery="",
                        received_at=now,
                        push=None,
                    )
                )
                queued = Outcome(
                    kind=OutcomeKind.ACCEPTED, reason="queued", status=202, repository=repository.full_name, ref=ref
                )
                outcomes.append(queued)
            else:
                with self._runs:
                    trigger = Trigger(ref=ref, push=None, delivery="", received_at=now, deadline=deadline)
                    outcomes += self._deliverer.deliver(repository, self._parameters.token_of(repository), trigger)
        return outcomes

    def _maintain(
        self, repository: Repository, _: RepositoryState, state: ScheduleState, deadline: Deadline
    ) -> Visited:
        name = repository.full_name
        with self._runs:
            result = self._publisher.maintain(repository, deadline=deadline, resume_at=state.resume_at.get(name))
        if result.resume_at is None:
            state.resume_at.pop(name, None)
        else:
            state.resume_at[name] = result.resume_at
        outcomes = list(result.outcomes)
        if any(outcome.reason == MirrorDamaged.reason for outcome in outcomes):
            # No ref is behind, so nothing else would fetch the objects again; and without them nothing can be compared.
            outcomes += self._reconcile(repository, self._publisher.published_refs(repository.full_name), deadline)
        return Visited(outcomes)

    def _record(self, task: str, request_id: str, outcome: Outcome) -> None:
        if outcome.kind in _RECORDED or outcome.notes or outcome.reason == "set_aside":
            self._telemetry.record(outcome, delivery="", event=task, request_id=request_id, duration_ms=0.0)


def _digest(targets: Sequence[TargetDrift]) -> str:
    """Return what tells whether the targets' refs name something else than before."""
    named = sorted({f"{each.ref} {each.commit}" for each in targets})
    return hashlib.sha1("\n".join(named).encode(), usedforsecurity=False).hexdigest()[:8]
