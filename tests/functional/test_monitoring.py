"""Which metrics are written: all, or only what the default stack's alarms read. The log lines are the same."""

import pytest

from testing.output import Line
from testing.queue import MessageQueue
from testing.repositories import Upstream
from testing.service import Service

FEW = {"FailedOutcomes", "LastSuccessAgeSeconds", "PushToVisibleSeconds", "RefsBehind"}
MORE = {"Deliveries", "FetchDuration", "FilesWritten", "BytesFetched", "Coalesced", "QueueLagSeconds"} | {
    "RepositoriesSurveyed",
    "RepositoriesFailing",
}


def _run(service: Service, upstream: Upstream, queue: MessageQueue) -> None:
    """Publish directly, by the queue and by the schedule, and refuse a forgery."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.push(upstream)
    service.push(upstream, secret="another one")
    service.use_queue(queue)
    upstream.commit({"a": b"2"})
    service.push(upstream)
    queue.deliver_all(service.work)
    service.run_schedule()


def _declared(line: Line) -> set[str]:
    return {metric["Name"] for part in line["_aws"]["CloudWatchMetrics"] for metric in part["Metrics"]}


@pytest.mark.parametrize("given", [True, None], ids=["true", "not set"])
def test_every_metric_is_written(service: Service, upstream: Upstream, queue: MessageQueue, given: bool | None) -> None:
    """As before there was a choice."""
    service.configure(all_metrics=given)
    _run(service, upstream, queue)
    assert set().union(*map(_declared, service.metrics)) >= FEW | MORE


def test_only_what_alarms_read_is_written(service: Service, upstream: Upstream, queue: MessageQueue) -> None:
    """By the stack's name alone, no line is empty, and the figures of the others are in the log lines."""
    service.configure(all_metrics=False)
    _run(service, upstream, queue)
    assert set().union(*map(_declared, service.metrics)) == FEW
    assert all(map(_declared, service.metrics))
    assert {str(part["Dimensions"]) for line in service.metrics for part in line["_aws"]["CloudWatchMetrics"]} == {
        "[['service']]"
    }
    published = [line for line in service.log_lines if line.get("outcome") == "published"]
    assert len(published) == 2
    assert all(line["durations"]["fetch_ms"] > 0 and line["counts"]["files_written"] == 1 for line in published)
    (summary,) = [line for line in service.log_lines if line["message"] == "schedule"]
    assert (summary["looked_at"], summary["failing"]) == (1, 0)
