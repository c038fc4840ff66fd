"""Entry point for SQS: a batch of messages → `network.queue.worker` → which of them SQS is to show again."""

import os

from handler.deadline import Deadline
from handler.network.aws.telemetry import Telemetry
from handler.network.queue.batch import read_batch
from handler.network.queue.worker import Worker
from handler.runtime import Runtime, make_sides, request_id_of
from handler.settings import Settings


def _make(settings: Settings, telemetry: Telemetry) -> Worker:
    _, deliverer = make_sides(settings, progress=telemetry.progress, warn=telemetry.warn)
    return Worker(settings, telemetry, deliverer)


_runtime = Runtime.initialised(_make, os.environ)


def handler(event: object, context: object) -> dict[str, object]:
    """Work through a batch of SQS's; answer which messages SQS is to show again. Never raises."""
    messages = read_batch(event)
    request_id, deadline = request_id_of(context), Deadline.of_context(context)
    failed = tuple(message.id for message in messages)
    try:
        with _runtime.serving(os.environ) as worker:
            failed = worker.work(messages, deadline, request_id)
    except Exception as error:  # also a defect: SQS shows the whole batch again
        _runtime.record_failure(error, request_id)
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}


def reset() -> None:
    """Forget everything that the process keeps: settings, parameters, connections, packs. For tests and tools."""
    _runtime.close()
