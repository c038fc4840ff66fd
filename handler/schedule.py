"""Entry point for EventBridge Scheduler: `{"task": "reconcile"}` or `{"task": "chores"}` → `network.schedule`."""

import os
from collections.abc import Mapping

from handler.deadline import Deadline
from handler.errors import Malformed
from handler.exchange.schedule_state import TASKS
from handler.network.aws.telemetry import Telemetry
from handler.network.schedule import Schedule
from handler.runtime import Runtime, make_sides, request_id_of
from handler.settings import Settings


def _make(settings: Settings, telemetry: Telemetry) -> Schedule:
    publisher, deliverer = make_sides(settings, progress=telemetry.progress, warn=telemetry.warn)
    return Schedule(settings, telemetry, publisher, deliverer)


_runtime = Runtime.initialised(_make, os.environ)


def handler(event: object, context: object) -> dict[str, object]:
    """Do the task that the event names: `{"task": "reconcile"}` or `{"task": "chores"}`. Never raises.

    Returns the task, its outcome and figures; a failure with its reason.
    """
    request_id, deadline = request_id_of(context), Deadline.of_context(context)
    task = event.get("task") if isinstance(event, Mapping) else None
    try:
        if task not in TASKS:
            raise Malformed("the event names no task")
        with _runtime.serving(os.environ) as schedule:
            return schedule.run(task, deadline, request_id)
    except Exception as error:  # also a defect: the schedule comes again
        outcome = _runtime.record_failure(error, request_id, event=str(task)[:20])
    return {"task": task if isinstance(task, str) else None, "outcome": str(outcome.kind), "reason": outcome.reason}


def reset() -> None:
    """Forget everything that the process keeps. For tests and tools."""
    _runtime.close()
