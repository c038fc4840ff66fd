"""Works through SQS batches: one reconcile a ref, then ack, nack or dead letter for the messages that it answers.

Repositories of a batch are worked on side by side, the refs of one repository one after the other. One repository's
failure is not another's: each message is acked or nacked for its own repository.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from handler.deadline import Deadline
from handler.errors import ConfigurationInvalid, Git2EfsError, Malformed, OutOfTime
from handler.model import Outcome, OutcomeKind
from handler.network.aws.parameters import Parameters
from handler.network.aws.telemetry import Queued, Telemetry
from handler.network.forges.github import without_future
from handler.network.queue.batch import CoalescedPush, SqsMessage, back_off_seconds, plan_batch
from handler.network.queue.heartbeat import VisibilityHeartbeat
from handler.network.queue.sqs import Queue
from handler.network.trigger import Trigger
from handler.outcome import as_failure, failed_push, is_transient, outcome_of
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.network.deliver import Deliverer

LEAST_SECONDS = 5.0
"""With less than this left no push is begun with."""
LATE_SECONDS = 0.5
"""A message that waited longer than this, or was coalesced, is probably not the tip any more: ask for the ref first."""


class Worker:
    """What one process keeps between batches. Safe for threads."""

    def __init__(
        self, settings: Settings, telemetry: Telemetry, deliverer: "Deliverer", clock: Callable[[], float] = time.time
    ) -> None:
        """Connects to nothing. Raises ConfigurationInvalid where no queue is set."""
        if not settings.queue_url:
            raise ConfigurationInvalid("a worker needs GIT2EFS_QUEUE_URL")
        self._telemetry = telemetry
        self._clock = clock
        self._parameters = Parameters(settings)
        self._deliverer = deliverer
        self._queue = Queue(settings.queue_url, settings.dead_letter_url)

    def close(self) -> None:
        """Close what is kept open."""
        self._deliverer.close()
        self._parameters.close()

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the stored tokens, without showing them."""
        return self._parameters.secret_problems()

    def work(self, messages: tuple[SqsMessage, ...], deadline: Deadline, request_id: str) -> tuple[str, ...]:
        """Work through a batch; return the ids of the messages that SQS is to show again. Ends by `deadline`."""
        plan = plan_batch(messages)
        with VisibilityHeartbeat(self._queue, (message.receipt for message in messages)) as heartbeat:
            batch = _Batch(self, heartbeat, deadline, request_id)
            failed = [message.id for message, error in plan.malformed if not batch.refuse(message, error)]
            # A pool that waits for all of its threads, even past the deadline. To answer while one of them still
            # runs would be worse than to be killed: Lambda freezes the process then, with a repository's lock held.
            with ThreadPoolExecutor(max(1, len(plan.repositories)), thread_name_prefix="repository") as pool:
                for shown_again in pool.map(batch.work_on_repository, plan.repositories):
                    failed += shown_again
        return tuple(failed)

    def deliver(self, push: CoalescedPush, deadline: Deadline) -> tuple[Outcome, ...]:
        """Reconcile the push's ref; one outcome a target. Raises no Exception: every failure is an outcome."""
        message = push.message
        try:
            now = self._clock()
            deadline.minus(LEAST_SECONDS).check("no time was left to begin with it")
            is_late = len(push.messages) > 1 or now - push.waiting_since > LATE_SECONDS
            trigger = Trigger(
                ref=message.ref,
                # An older version's webhook may have queued any time.
                push=message.push and without_future(message.push, now),
                delivery=message.delivery,
                received_at=message.received_at,
                is_late=is_late,
                deadline=deadline,
            )
            with self._deliverer.waking(message.repository, message.ref, deadline):
                repository = self._parameters.repository(message.repository)
                token = self._parameters.token_of(repository)
                return self._deliverer.deliver(repository, token, trigger)
        except Exception as error:  # also a defect: these messages fail with it, the others do not
            failure = as_failure(error)
        if message.push is not None:
            return (failed_push(failure, message.push),)
        return (replace(outcome_of(failure), repository=message.repository, ref=message.ref),)

    def dead_letter(self, message: SqsMessage, reason: str, detail: str) -> bool:
        """Send a message to the dead letters; return whether that was possible."""
        try:
            self._queue.dead_letter(message.body, message.group, reason, detail)
        except Git2EfsError as error:
            self._telemetry.warn(f"a message could not be put among the dead letters: {error.reason}: {error}")
            return False
        return True

    def lag_seconds(self, push: CoalescedPush) -> float:
        """Return how long the push's oldest message has waited by now."""
        return max(0.0, self._clock() - push.waiting_since)

    def record(self, outcome: Outcome, push: CoalescedPush | None, request_id: str, ms: float, queued: Queued) -> None:
        """Write an outcome's log line and metrics; `push` is None for a message that is not one of ours."""
        delivery, event = ("", "") if push is None else (push.message.delivery, str(push.message.cause))
        self._telemetry.record(
            outcome, delivery=delivery, event=event, request_id=request_id, duration_ms=ms, queued=queued
        )


class _Batch:
    """One batch; its heartbeat hides the messages while they are worked on."""

    def __init__(self, worker: Worker, heartbeat: VisibilityHeartbeat, deadline: Deadline, request_id: str) -> None:
        self._worker = worker
        self._heartbeat = heartbeat
        self._deadline = deadline
        self._request_id = request_id

    def work_on_repository(self, pushes: tuple[CoalescedPush, ...]) -> list[str]:
        """Do a repository's pushes in order; return the ids of the messages that SQS is to show again."""
        return [message.id for push in pushes if not self._work_on(push) for message in push.messages]

    def _work_on(self, push: CoalescedPush) -> bool:
        """Do one push, and ack or nack its messages; return whether they are acked."""
        lag_seconds, started = self._worker.lag_seconds(push), time.perf_counter()
        outcomes = self._worker.deliver(push, self._deadline)
        is_acked = self._ack_or_nack(push, outcomes)
        duration_ms = (time.perf_counter() - started) * 1000
        for number, outcome in enumerate(outcomes):
            # The lag and the number of messages are the push's: measured once, however many targets it has.
            queued = Queued(len(push.messages), lag_seconds, is_measured=number == 0)
            self._worker.record(outcome, push, self._request_id, duration_ms, queued)
        return is_acked

    def _ack_or_nack(self, push: CoalescedPush, outcomes: tuple[Outcome, ...]) -> bool:
        transient = [outcome for outcome in outcomes if is_transient(outcome)]
        stalled = [outcome for outcome in outcomes if outcome.kind is OutcomeKind.FAILED and not is_transient(outcome)]
        if transient:
            # What only lacked time goes on at once where it stopped.
            is_out_of_time = all(outcome.reason == OutOfTime.reason for outcome in transient)
            self._heartbeat.nack(push.receipts, 0 if is_out_of_time else back_off_seconds(push.receives))
            return False
        # One dead letter stands for all messages of the ref, as one reconcile did.
        if stalled and not self._worker.dead_letter(push.messages[-1], stalled[0].reason, stalled[0].detail or ""):
            self._heartbeat.nack(push.receipts, back_off_seconds(push.receives))
            return False
        self._heartbeat.ack(push.receipts)
        return True

    def refuse(self, message: SqsMessage, error: Malformed) -> bool:
        """Send a message that is not one of ours to the dead letters; return whether it is acked."""
        self._worker.record(outcome_of(error), None, self._request_id, 0.0, Queued(1, None, is_measured=False))
        if self._worker.dead_letter(message, error.reason, str(error)):
            self._heartbeat.ack([message.receipt])
            return True
        self._heartbeat.nack([message.receipt], back_off_seconds(message.receives))
        return False
