"""Entry point for EventBridge Scheduler: what is behind its remote is looked at, and once a day the chores are done.

GitHub does not send a webhook twice by itself, and a payload of more than 6 MB never arrives: so every few minutes each
repository's remote is asked what its refs name. Mostly nothing moved, and that is all.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from handler.deadline import Deadline
from handler.errors import LockTimeout, Malformed, MirrorDamaged
from handler.exchange.schedule_state import ScheduleState
from handler.exchange.trigger import Trigger
from handler.model import Outcome, OutcomeKind, Repository
from handler.network.aws.parameters import Parameters
from handler.network.aws.telemetry import Telemetry
from handler.network.queue.message import Cause, Message
from handler.network.queue.sqs import Queue
from handler.network.resync import Resync
from handler.outcome import as_failure, outcome_of
from handler.runtime import Runtime, make_sides
from handler.settings import Settings

RECONCILE, CHORES = "reconcile", "chores"
_BUSY = 4
"""Repositories that are brought up to date, or tended, at a time; to look whether they need it costs little."""
_LAST_LOOK_SECONDS = 30.0
"""With less than this left no repository is begun with."""
_TOLD = (OutcomeKind.PUBLISHED, OutcomeKind.RETIRED, OutcomeKind.FAILED, OutcomeKind.ACCEPTED)


class Schedule:
    """What one process keeps between runs."""

    def __init__(self, settings: Settings, telemetry: Telemetry, clock: Callable[[], float] = time.time) -> None:
        """Connects to nothing yet."""
        self._settings = settings
        self._telemetry = telemetry
        self._clock = clock
        self._parameters = Parameters(settings)
        self._publisher, self._deliverer = make_sides(settings, progress=telemetry.progress, warn=telemetry.warn)
        self._queue = Queue(settings.queue_url) if settings.queue_url else None
        self._busy = threading.Semaphore(_BUSY)

    def close(self) -> None:
        """Close what is kept open."""
        self._deliverer.close()

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the stored tokens, without showing them."""
        return self._parameters.secret_problems()

    def run(self, task: str, deadline: Deadline, request_id: str) -> dict[str, object]:
        """Do a task; returns what came of it. Raises Git2EfsError.

        A run that finds another one at the same task leaves it alone.
        """
        started = time.perf_counter()
        try:
            with self._publisher.schedule_state(task) as diary:
                visit = self._looker(deadline) if task == RECONCILE else self._tender(diary, deadline)
                tell = self._teller(task, request_id)
                rounds = Resync(self._parameters, visit, tell, diary, deadline.minus(_LAST_LOOK_SECONDS), self._clock)
                done = rounds.run()
        except LockTimeout:
            return {"task": task, "outcome": "ignored", "reason": "already_running"}
        seconds = round(time.perf_counter() - started, 1)
        summary: dict[str, object] = {"task": task, "outcome": "done", **asdict(done), "seconds": seconds}
        if task == RECONCILE:
            self._telemetry.survey(summary, rounds.oldest_seconds(), request_id)
        return summary

    def _looker(self, deadline: Deadline) -> Callable[[Repository], tuple[int, Sequence[Outcome]]]:
        def look(repository: Repository) -> tuple[int, Sequence[Outcome]]:
            token = self._parameters.token_of(repository)
            behind = self._deliverer.drift(repository, token).behind
            return len(behind), self._look_at(repository, behind, deadline)

        return look

    def _look_at(self, repository: Repository, refs: Sequence[str], deadline: Deadline) -> list[Outcome]:
        """Have the refs looked at: by a worker, if there is a queue."""
        now, outcomes = self._clock(), list[Outcome]()
        for ref in refs:
            if self._queue is not None:
                self._queue.send(Message(Cause.SCHEDULE, repository.full_name, ref, "", now, None))
                about = Outcome(OutcomeKind.ACCEPTED, "queued", 202, repository=repository.full_name, ref=ref)
                outcomes.append(about)
            else:
                with self._busy:
                    request = Trigger(ref, None, "", now, deadline=deadline)
                    outcomes += self._deliverer.deliver(repository, self._parameters.token_of(repository), request)
        return outcomes

    def _tender(
        self, diary: ScheduleState, deadline: Deadline
    ) -> Callable[[Repository], tuple[int, Sequence[Outcome]]]:
        def tend(repository: Repository) -> tuple[int, Sequence[Outcome]]:
            name = repository.full_name
            with self._busy:
                tended = self._publisher.maintain(repository, deadline=deadline, resume_at=diary.resume_at.get(name))
            if tended.resume_at is None:
                diary.resume_at.pop(name, None)
            else:
                diary.resume_at[name] = tended.resume_at
            outcomes = list(tended.outcomes)
            if any(outcome.reason == MirrorDamaged.reason for outcome in outcomes):
                # Nothing is behind, so no look would come of itself; and without objects nothing can be compared.
                outcomes += self._look_at(repository, self._publisher.published_refs(repository), deadline)
            return 0, outcomes

        return tend

    def _teller(self, task: str, request_id: str) -> Callable[[Outcome], None]:
        def tell(outcome: Outcome) -> None:
            if outcome.kind in _TOLD or outcome.notes or outcome.reason == "set_aside":
                self._telemetry.record(outcome, delivery="", event=task, request_id=request_id, duration_ms=0.0)

        return tell


_process = Runtime(Schedule)


def handler(event: object, context: object) -> dict[str, object]:
    """Do the task that the event names: `{"task": "reconcile"}` or `{"task": "chores"}`. Never raises.

    Returns the task, its outcome and figures; a failure with its reason.
    """
    request_id = str(getattr(context, "aws_request_id", ""))
    task = event.get("task") if isinstance(event, Mapping) else None
    try:
        if task not in (RECONCILE, CHORES):
            raise Malformed("the event names no task")
        schedule = _process.app(os.environ)
        try:
            return schedule.run(task, Deadline.of_context(context), request_id)
        finally:
            _process.warn_once(schedule.secret_problems())
    except Exception as error:  # a defect too is told, as one
        outcome = outcome_of(as_failure(error))
    _process.telemetry().record(outcome, delivery="", event=str(task)[:20], request_id=request_id, duration_ms=0.0)
    return {"task": task if isinstance(task, str) else None, "outcome": str(outcome.kind), "reason": outcome.reason}


def reset() -> None:
    """Forget everything that the process keeps. For tests and tools."""
    _process.close()
