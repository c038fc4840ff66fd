"""Entry point for API Gateway and function URLs: one delivery → `network.receive` → its answer."""

import os
import time

from handler.deadline import Deadline
from handler.model import Delivery
from handler.network.aws.api_gateway import answer
from handler.network.aws.telemetry import Telemetry
from handler.network.receive import Receiver
from handler.outcome import answer_of, as_failure, outcome_of
from handler.runtime import Runtime, make_sides, request_id_of
from handler.settings import Settings

_UNREAD = Delivery(id="", event="", media_type="", body=b"")


def _make(settings: Settings, telemetry: Telemetry) -> Receiver:
    if settings.queue_url:
        return Receiver(settings, None)
    _, deliverer = make_sides(settings, progress=telemetry.progress, warn=telemetry.warn)
    return Receiver(settings, deliverer)


_runtime = Runtime.initialised(_make, os.environ, before_snapshot=Receiver.prepare)


def handler(event: object, context: object) -> dict[str, object]:
    """Answer one webhook request; `event` is API Gateway's (payload 2.0 or 1.0) or a function URL's.

    Answers whatever comes, and never raises: 200 published, unchanged or ignored; 202 queued; 400, 401, 404, 413, 415
    rejected; 500 stalled; 503 transient.
    """
    received_at, started = time.time(), time.perf_counter()
    request_id, deadline = request_id_of(context), Deadline.of_context(context)
    delivery = _UNREAD
    try:
        with _runtime.serving(os.environ) as receiver:
            delivery = receiver.verify(event)
            outcomes = receiver.deliver(delivery, received_at, deadline)
    except Exception as error:  # also a defect: it must not become API Gateway's bare 502
        outcomes = (outcome_of(as_failure(error)),)
    duration_ms = (time.perf_counter() - started) * 1000
    for outcome in outcomes:
        _runtime.telemetry().record(
            outcome,
            delivery=delivery.id,
            event=delivery.event,
            request_id=request_id,
            duration_ms=duration_ms,
        )
    return answer(*answer_of(outcomes, duration_ms))


def reset() -> None:
    """Forget everything that the process keeps: settings, parameters, connections, packs. For tests and tools."""
    _runtime.close()
