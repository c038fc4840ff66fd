"""The saved queries answer what their names ask, on the lines that the functions really write."""

import pytest

from testing.hostile import UNSAFE
from testing.output import Line
from testing.queue import MessageQueue
from testing.repositories import Upstream
from testing.service import Service
from testing.stack import MODES, Stack, read_stack

from . import insights

DELIVERY = "11111111-2222-3333-4444-555555555555"
HOLDER = "PUT-THE-DELIVERYS-ID-HERE"


def queries(stack: Stack) -> dict[str, str]:
    """The saved queries by the last part of their names."""
    return {
        stack.resolve(each["Properties"]["Name"]).split("/")[1]: each["Properties"]["QueryString"]
        for each in stack.of_type("AWS::Logs::QueryDefinition").values()
    }


QUERIES = queries(read_stack())


@pytest.fixture
def lines(service: Service, upstream: Upstream, queue: MessageQueue) -> list[Line]:
    """Lines of a run: published directly and by the queue, a forgery, failures, the schedule, the chores."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.push(upstream)
    upstream.commit({"a": b"2"})
    service.push(upstream, secret="another one")
    service.use_queue(queue)
    service.push(upstream, delivery_id=DELIVERY)
    queue.deliver_all(service.work)
    upstream.commit_tree(next(iter(UNSAFE.values()))(upstream))
    service.push(upstream)
    queue.deliver_all(service.work)
    service.put_repository_text("octo/wrong", "[]")
    service.run_schedule()
    queue.deliver_all(service.work)
    service.run_schedule("chores")
    return service.lines


def test_every_query_reads_fields_that_are_written(lines: list[Line]) -> None:
    """A misspelt field is no error in Insights: its column is empty."""
    written = {name for row in insights.rows_of(lines) for name in row}
    assert [(name, missing) for name, query in QUERIES.items() if (missing := insights.names_in(query) - written)] == []


def test_what_happened_to_a_delivery(lines: list[Line]) -> None:
    """Accepted at the door, published by the worker, in that order, and nothing else."""
    rows = insights.run(QUERIES["what happened to a delivery"].replace(HOLDER, DELIVERY), insights.rows_of(lines))
    assert [(row["outcome"], row["reason"]) for row in rows] == [("accepted", "queued"), ("published", "pushed")]


def test_slowest_publishes(lines: list[Line]) -> None:
    """The slowest first, and where its time went."""
    rows = insights.run(QUERIES["slowest publishes"], insights.rows_of(lines))
    assert len(rows) == 2
    durations = [row["duration_ms"] for row in rows]
    assert durations == sorted(durations, reverse=True)
    assert all(row["durations.checkout_ms"] > 0 and row["repository"] == "octo/site" for row in rows)


def test_failures_by_repository(lines: list[Line]) -> None:
    """How often, and the last reason in words; metrics' lines, which hold the same words, are not counted."""
    rows = insights.run(QUERIES["failures by repository"], insights.rows_of(lines))
    counts = {(row["repository"], row["reason"]): row["failures"] for row in rows}
    assert counts == {("octo/site", "tree_unsafe"): 2, ("octo/wrong", "configuration_invalid"): 2}
    assert all(row["why"] for row in rows)


def test_what_the_schedule_found(lines: list[Line]) -> None:
    """A round's figures, and what came of what it found; the newest first."""
    rows = insights.run(QUERIES["what the schedule found"], insights.rows_of(lines))
    (round_,) = [row for row in rows if row["message"] == "schedule"]
    assert (round_["looked_at"], round_["behind"], round_["failing"]) == (2, 1, 1)
    # Its lines alone are in its log group; here those of the door and the worker stand between them.
    mine = [(row["event"], row["outcome"]) for row in rows if row["event"] in ("reconcile", "chores")]
    assert ("reconcile", "accepted") in mine
    assert ("reconcile", "failed") in mine


def test_a_query_that_reads_another_field_would_be_seen(lines: list[Line]) -> None:
    """The test above can fail."""
    written = {name for row in insights.rows_of(lines) for name in row}
    assert insights.names_in("fields @timestamp, repositroy\n| sort duration desc") - written == {
        "repositroy",
        "duration",
    }


@pytest.mark.parametrize("query", ["parse x", 'filter a = "1" and b = "2" or c = "3"', "stats sum(x) by y"])
def test_what_the_interpreter_does_not_know_is_refused(query: str) -> None:
    """Rather than passed over."""
    with pytest.raises(ValueError, match=r"^no |binds"):
        insights.run(query, [{"@timestamp": 0}])


@pytest.mark.parametrize("mode_name", list(MODES))
def test_queries_ask_the_groups_that_the_lines_are_in(stack: Stack, mode_name: str) -> None:
    """Every group that is asked is there in the mode; all groups of functions are asked by some query."""
    mode = stack.under(MODES[mode_name])
    groups = {
        properties["LoggingConfig"]["LogGroup"]["Ref"]
        for name, properties in mode.functions()
        if name in ("WebhookFunction", "WorkerFunction", "ScheduleFunction")
    }
    asked = {
        group["Ref"]
        for query in mode.of_type("AWS::Logs::QueryDefinition").values()
        for group in query["Properties"]["LogGroupNames"]
    }
    assert asked == groups
