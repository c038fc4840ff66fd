"""Entry point for the queue: a batch of messages → one look a ref → done, seen again later, or dead letters.

Repositories of a batch are worked on side by side, the refs of one repository one after the other. No repository's
trouble is another's: each message's fate is its own repository's, and told to SQS by itself.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from handler.deadline import Deadline
from handler.errors import ConfigurationInvalid, Git2EfsError, Malformed, OutOfTime
from handler.exchange.trigger import Trigger
from handler.model import Outcome, OutcomeKind
from handler.network.aws.parameters import Parameters
from handler.network.aws.telemetry import Queued, Telemetry
from handler.network.queue.batch import CoalescedPush, SqsMessage, back_off_seconds, plan_batch, read_batch
from handler.network.queue.heartbeat import VisibilityHeartbeat
from handler.network.queue.sqs import Queue
from handler.outcome import is_transient, outcome_of, unexpected
from handler.runtime import Runtime, make_sides
from handler.settings import Settings

LEAST_SECONDS = 5.0
"""With less than this left a look is not begun."""
LATE_SECONDS = 0.5
"""Who waited for longer, or is one of several, may have been overtaken: the ref is asked before a pack is."""


class Worker:
    """What one process keeps between batches. Safe for threads."""

    def __init__(self, settings: Settings, telemetry: Telemetry, clock: Callable[[], float] = time.time) -> None:
        """Connects to nothing yet. Raises ConfigurationInvalid where no queue is set."""
        if not settings.queue_url:
            raise ConfigurationInvalid("a worker needs GIT2EFS_QUEUE_URL")
        self._telemetry = telemetry
        self._clock = clock
        self._parameters = Parameters(settings)
        _, self._deliverer = make_sides(settings, progress=telemetry.progress, warn=telemetry.warn)
        self._queue = Queue(settings.queue_url, settings.dead_letter_url)

    def close(self) -> None:
        """Close what is kept open."""
        self._deliverer.close()

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the stored tokens, without showing them."""
        return self._parameters.secret_problems()

    def work(self, records: tuple[SqsMessage, ...], deadline: Deadline, request_id: str) -> tuple[str, ...]:
        """Work through a batch; return the ids of the messages that are to be seen again.

        All has stopped by `deadline`.
        """
        plan = plan_batch(records)
        with VisibilityHeartbeat(self._queue, (record.receipt for record in records)) as custody:
            batch = _Batch(self, custody, deadline, request_id)
            failed = [record.id for record, error in plan.malformed if not batch.refuse(record, error)]
            # A pool that waits for all of its threads, even past the deadline. To answer while one of them still
            # runs would be worse than to be killed: Lambda freezes the process then, with a repository's lock held.
            with ThreadPoolExecutor(max(1, len(plan.repositories)), thread_name_prefix="repository") as pool:
                for each in pool.map(batch.repository, plan.repositories):
                    failed += each
        return tuple(failed)

    def outcomes(self, work: CoalescedPush, deadline: Deadline) -> tuple[Outcome, ...]:
        """Look at the work's ref; one outcome a target. Never raises an Exception: every failure is an outcome."""
        message = work.message
        try:
            now = self._clock()
            deadline.minus(LEAST_SECONDS).check("no time was left to begin with it")
            repository = self._parameters.repository(message.repository)
            token = self._parameters.token_of(repository)
            is_late = len(work.messages) > 1 or now - work.waiting_since > LATE_SECONDS
            request = Trigger(message.ref, message.push, message.delivery, message.received_at, is_late, deadline)
            return self._deliverer.deliver(repository, token, request)
        except Git2EfsError as error:
            failure = error
        except Exception as error:  # a defect: these messages fail with it, the others do not
            failure = unexpected(error)
        return (replace(outcome_of(failure), repository=message.repository, ref=message.ref),)

    def dead_letter(self, record: SqsMessage, reason: str, detail: str) -> bool:
        """Put a message among the dead letters; return whether that was possible."""
        try:
            self._queue.dead_letter(record.body, record.group, reason, detail)
        except Git2EfsError as error:
            self._telemetry.warn(f"a message could not be put among the dead letters: {error.reason}: {error}")
            return False
        return True

    def lag_seconds(self, work: CoalescedPush) -> float:
        """Return how long the oldest message of the work has waited by now."""
        return max(0.0, self._clock() - work.waiting_since)

    def tell(self, outcome: Outcome, delivery: str, event: str, request_id: str, ms: float, queued: Queued) -> None:
        """Write an outcome's log line and metrics."""
        self._telemetry.record(
            outcome, delivery=delivery, event=event, request_id=request_id, duration_ms=ms, queued=queued
        )


class _Batch:
    """One batch, with its messages in custody."""

    def __init__(self, worker: Worker, custody: VisibilityHeartbeat, deadline: Deadline, request_id: str) -> None:
        self._worker = worker
        self._custody = custody
        self._deadline = deadline
        self._request_id = request_id

    def repository(self, works: tuple[CoalescedPush, ...]) -> list[str]:
        """Do a repository's work, ref by ref; return the ids of the messages that are to be seen again."""
        return [record.id for work in works if not self._do(work) for record in work.messages]

    def _do(self, work: CoalescedPush) -> bool:
        """Do one work and dispose of its messages; return whether they are done with."""
        lag_seconds, started = self._worker.lag_seconds(work), time.perf_counter()
        outcomes = self._worker.outcomes(work, self._deadline)
        is_done = self._dispose(work, outcomes)
        duration_ms = (time.perf_counter() - started) * 1000
        message = work.message
        for number, outcome in enumerate(outcomes):
            # The measures are the work's: told once, however many targets it has.
            queued = Queued(len(work.messages), lag_seconds, is_measured=number == 0)
            self._worker.tell(outcome, message.delivery, str(message.cause), self._request_id, duration_ms, queued)
        return is_done

    def _dispose(self, work: CoalescedPush, outcomes: tuple[Outcome, ...]) -> bool:
        transient = [outcome for outcome in outcomes if is_transient(outcome)]
        stalled = [outcome for outcome in outcomes if outcome.kind is OutcomeKind.FAILED and not is_transient(outcome)]
        if transient:
            # What only lacked time goes on at once where it stopped.
            is_hurried = all(outcome.reason == OutOfTime.reason for outcome in transient)
            self._custody.nack(work.receipts, 0 if is_hurried else back_off_seconds(work.receives))
            return False
        # One letter stands for all messages of the ref, as one look did.
        if stalled and not self._bury(work.messages[-1], stalled[0].reason, stalled[0].detail or ""):
            self._custody.nack(work.receipts, back_off_seconds(work.receives))
            return False
        self._custody.ack(work.receipts)
        return True

    def refuse(self, record: SqsMessage, error: Malformed) -> bool:
        """Put what is no message of ours among the dead letters; return whether it is done with."""
        self._worker.tell(outcome_of(error), "", "", self._request_id, 0.0, Queued(1, None, is_measured=False))
        if self._bury(record, error.reason, str(error)):
            self._custody.ack([record.receipt])
            return True
        self._custody.nack([record.receipt], back_off_seconds(record.receives))
        return False

    def _bury(self, record: SqsMessage, reason: str, detail: str) -> bool:
        return self._worker.dead_letter(record, reason, detail)


_process = Runtime(Worker)


def handler(event: object, context: object) -> dict[str, object]:
    """Work through a batch of SQS's; answers which messages are to be seen again, and never raises."""
    records = read_batch(event)
    request_id = str(getattr(context, "aws_request_id", ""))
    failed = tuple(record.id for record in records)
    try:
        worker = _process.app(os.environ)
        try:
            failed = worker.work(records, Deadline.of_context(context), request_id)
        finally:
            _process.warn_once(worker.secret_problems())
    except Git2EfsError as error:
        _tell(error, request_id)
    except Exception as error:  # a defect: all of the batch is seen again
        _tell(unexpected(error), request_id)
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}


def _tell(error: Git2EfsError, request_id: str) -> None:
    _process.telemetry().record(outcome_of(error), delivery="", event="", request_id=request_id, duration_ms=0.0)


def reset() -> None:
    """Forget everything that the process keeps: settings, parameters, connections, packs. For tests and tools."""
    _process.close()
