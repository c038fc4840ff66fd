"""Log lines and metrics for CloudWatch: one line an outcome, and its metrics in the embedded metric format. No secrets.

All metrics are named here; template.yaml's alarms use the same names, and a test compares them.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from handler.model import Outcome, OutcomeKind

NAMESPACE = "git2efs"

DELIVERIES = "Deliveries"
FAILED_OUTCOMES = "FailedOutcomes"
LAST_SUCCESS_AGE = "LastSuccessAgeSeconds"
PUSH_TO_VISIBLE = "PushToVisibleSeconds"
FETCH = "FetchDuration"
CHECKOUT = "CheckoutDuration"
PUBLISH = "PublishDuration"
FILES_WRITTEN = "FilesWritten"
FILES_REMOVED = "FilesRemoved"
BYTES_FETCHED = "BytesFetched"
BYTES_WRITTEN = "BytesWritten"
COALESCED = "Coalesced"
QUEUE_LAG = "QueueLagSeconds"

SURVEYED = "RepositoriesSurveyed"
BEHIND = "RefsBehind"
FAILING = "RepositoriesFailing"
HELD = "TargetsHeld"

PROGRESS_SECONDS = 10

_SERVICE_ONLY = ("service",)
METRICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        DELIVERIES: ("service", "outcome", "reason"),
        FAILED_OUTCOMES: _SERVICE_ONLY,
        LAST_SUCCESS_AGE: _SERVICE_ONLY,
        PUSH_TO_VISIBLE: _SERVICE_ONLY,
        FETCH: _SERVICE_ONLY,
        CHECKOUT: _SERVICE_ONLY,
        PUBLISH: _SERVICE_ONLY,
        FILES_WRITTEN: _SERVICE_ONLY,
        FILES_REMOVED: _SERVICE_ONLY,
        BYTES_FETCHED: _SERVICE_ONLY,
        BYTES_WRITTEN: _SERVICE_ONLY,
        COALESCED: _SERVICE_ONLY,
        QUEUE_LAG: _SERVICE_ONLY,
        SURVEYED: _SERVICE_ONLY,
        BEHIND: _SERVICE_ONLY,
        FAILING: _SERVICE_ONLY,
        HELD: _SERVICE_ONLY,
    }
)
"""Every metric that is emitted, and its dimensions. The repository is not one of them, since each value would be a
metric to pay for; the log line names it."""

FEW_METRICS = frozenset({FAILED_OUTCOMES, LAST_SUCCESS_AGE, PUSH_TO_VISIBLE, BEHIND})
"""What is emitted after `Telemetry.limit_metrics`: what alarms read. An account's first ten metrics are free, and two
stacks stay below that. The log lines hold the figures of the others."""

_Measure = tuple[str, MetricUnit, float]
"""A metric's name, its unit and its value."""

_LEVELS = {OutcomeKind.REJECTED: Logger.warning, OutcomeKind.FAILED: Logger.error}


@dataclass(frozen=True, slots=True)
class Queued:
    """How an outcome came through the queue: how many messages it answers, and how long the oldest had waited.

    `is_measured` is False where another outcome of the same messages has the metrics.
    """

    coalesced: int
    lag_seconds: float | None
    is_measured: bool = True


class Telemetry:
    """Writes to standard output. Safe for threads: no log keys are kept between lines."""

    def __init__(self) -> None:
        """Take the service's name from POWERTOOLS_SERVICE_NAME, which the template sets to the stack's name."""
        self._service = os.environ.get("POWERTOOLS_SERVICE_NAME", "git2efs")
        self._logger = Logger(service=self._service, stream=sys.stdout)
        self._lock = threading.Lock()
        self._progress: dict[str, float] = {}
        self._emitted = frozenset(METRICS)

    def limit_metrics(self) -> None:
        """Emit only FEW_METRICS from now on. The log lines stay as they are."""
        self._emitted = FEW_METRICS

    def record(
        self,
        outcome: Outcome,
        *,
        delivery: str,
        event: str,
        request_id: str,
        duration_ms: float,
        queued: Queued | None = None,
    ) -> None:
        """Write one outcome's log line, correlated by the delivery's id, and its metrics."""
        fields = {name: _rounded(value) for name, value in asdict(outcome).items() if value not in (None, (), "")}
        fields["outcome"] = str(fields.pop("kind"))
        if queued is not None:
            fields["coalesced"] = queued.coalesced
            if queued.lag_seconds is not None:
                fields["queue_lag_seconds"] = round(queued.lag_seconds, 3)
        with self._lock:
            write = _LEVELS.get(outcome.kind, Logger.info)
            write(
                self._logger,
                "delivery",
                extra={
                    **fields,
                    "correlation_id": delivery or None,
                    "event": event or None,
                    "function_request_id": request_id,
                    "duration_ms": round(duration_ms, 1),
                },
            )
            self._count(outcome, queued if queued is not None and queued.is_measured else None)

    def record_resync(self, summary: Mapping[str, object], oldest_seconds: float | None, request_id: str) -> None:
        """Write the log line of one run of the schedule, and its metrics.

        `oldest_seconds` is the age of the oldest successful check of any repository; None without any repository.
        """
        with self._lock:
            self._logger.info("schedule", extra={**summary, "function_request_id": request_id})
            measures: list[_Measure] = []
            counted = ((SURVEYED, "looked_at"), (BEHIND, "behind"), (FAILING, "failing"), (HELD, "held"))
            for name, field in counted:
                value = summary.get(field, 0)
                measures.append((name, MetricUnit.Count, value if isinstance(value, int) else 0))
            if oldest_seconds is not None:
                measures.append((LAST_SUCCESS_AGE, MetricUnit.Seconds, oldest_seconds))
            self._emit(measures)

    def warn(self, sentence: str) -> None:
        """Write a warning that needs an operator's attention, in a line of its own."""
        with self._lock:
            self._logger.warning(sentence)

    def progress(self, about: str, done: int, total: int) -> None:
        """Write how far a long check-out is: about every ten seconds, and never for a short one."""
        now = time.monotonic()
        with self._lock:
            last = self._progress.setdefault(about, now)
            if done == total:
                del self._progress[about]
            elif now - last >= PROGRESS_SECONDS:
                self._progress[about] = now
                self._logger.info("checking out", extra={"target": about, "files_done": done, "files_total": total})

    def _count(self, outcome: Outcome, queued: Queued | None) -> None:
        self._emit([(DELIVERIES, MetricUnit.Count, 1)], outcome=str(outcome.kind), reason=outcome.reason)
        measures = list(_measures(outcome))
        if queued is not None:
            measures.append((COALESCED, MetricUnit.Count, queued.coalesced))
            if queued.lag_seconds is not None:
                measures.append((QUEUE_LAG, MetricUnit.Seconds, queued.lag_seconds))
        self._emit(measures)

    def _emit(self, measures: Iterable[_Measure], **dimensions: str) -> None:
        """Write one line with those measures that are emitted, and none without any."""
        kept = [measure for measure in measures if measure[0] in self._emitted]
        if not kept:
            return
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._service)
        for name, value in dimensions.items():
            metrics.add_dimension(name, value)
        for name, unit, amount in kept:
            metrics.add_metric(name, unit, amount)
        metrics.flush_metrics()


def _measures(outcome: Outcome) -> Iterator[_Measure]:
    yield FAILED_OUTCOMES, MetricUnit.Count, int(outcome.kind is OutcomeKind.FAILED)
    if outcome.last_success_age_seconds is not None:
        yield LAST_SUCCESS_AGE, MetricUnit.Seconds, outcome.last_success_age_seconds
    if outcome.kind is not OutcomeKind.PUBLISHED:
        return
    if outcome.push_to_visible_seconds is not None:
        yield PUSH_TO_VISIBLE, MetricUnit.Seconds, outcome.push_to_visible_seconds
    yield FETCH, MetricUnit.Milliseconds, outcome.durations.fetch_ms
    yield CHECKOUT, MetricUnit.Milliseconds, outcome.durations.checkout_ms
    yield PUBLISH, MetricUnit.Milliseconds, outcome.durations.publish_ms
    yield FILES_WRITTEN, MetricUnit.Count, outcome.counts.files_written
    yield FILES_REMOVED, MetricUnit.Count, outcome.counts.files_removed
    yield BYTES_FETCHED, MetricUnit.Bytes, outcome.counts.bytes_fetched
    yield BYTES_WRITTEN, MetricUnit.Bytes, outcome.counts.bytes_written


def _rounded(value: object) -> object:
    """Round floats, in mappings too, to milliseconds' precision."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return round(value, 3) if isinstance(value, float) else value
