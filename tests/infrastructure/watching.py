"""What the dashboard and the alarms show, and the laws of it. Pure: no I/O.

A widget's or an alarm's metric has to be one that is measured: ours by telemetry.METRICS, AWS's by the table here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from testing.dashboard import Shown, dashboard_of, shown_by
from testing.stack import Stack

from .laws import NAMESPACE, metrics_of

AWS_METRICS: Mapping[str, tuple[frozenset[str], tuple[str, ...]]] = {
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    "AWS/Lambda": (
        frozenset({"Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions"}),
        ("FunctionName",),
    ),
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
    "AWS/ApiGateway": (frozenset({"Count", "4xx", "5xx", "Latency", "IntegrationLatency"}), ("ApiId",)),
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    "AWS/SQS": (
        frozenset(
            {
                "ApproximateNumberOfMessagesVisible",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateAgeOfOldestMessage",
            }
        ),
        ("QueueName",),
    ),
    # https://docs.aws.amazon.com/efs/latest/ug/efs-metrics.html
    "AWS/EFS": (
        frozenset(
            {
                "MeteredIOBytes",
                "PermittedThroughput",
                "DataReadIOBytes",
                "DataWriteIOBytes",
                "MetadataIOBytes",
                "ClientConnections",
                "PercentIOLimit",
            }
        ),
        ("FileSystemId",),
    ),
}
STORAGE_BYTES = {"StorageClass", "FileSystemId"}
"""The dimensions of EFS's StorageBytes, the one metric here that has two."""

MAX_BODY_BYTES = 100_000
"""Far below what CloudFormation's template may have in all (1 MB), and more than a person would read."""
MAX_METRICS_A_WIDGET = 500
MAX_METRICS = 2_500
"""https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html"""
COLUMNS = 24
FREE_METRICS = FREE_ALARMS = 10
"""https://aws.amazon.com/cloudwatch/pricing/: each account's, every month."""


def dashboard_problems(stack: Stack, metrics: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Every widget shows what is measured, of this stack, in its place on the grid, within CloudWatch's limits."""
    body = dashboard_of(stack)
    problems = _grid_problems(body["widgets"])
    if len(json.dumps(body)) > MAX_BODY_BYTES:
        problems.append("the dashboard is too large")
    counts = []
    for widget in body["widgets"]:
        if widget["type"] != "metric":
            continue
        shown = list(shown_by(widget))
        counts.append(len(shown))
        if not shown:
            problems.append(f"{widget['properties']['title']} shows nothing")
        for each in shown:
            problems += [f"{each.widget}: {problem}" for problem in _metric_problems(stack, each, metrics)]
    if max(counts) > MAX_METRICS_A_WIDGET or sum(counts) > MAX_METRICS:
        problems.append("the dashboard shows too much")
    return problems


def _metric_problems(stack: Stack, shown: Shown, metrics: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    if not shown.options.get("stat"):
        yield f"{shown.name} has no statistic"
    if shown.namespace == NAMESPACE:
        if set(shown.dimensions) != set(metrics.get(shown.name, ())):
            yield f"{shown.name} is not measured by {sorted(shown.dimensions)}"
        if shown.dimensions.get("service") != stack.resolve({"Ref": "AWS::StackName"}):
            yield f"{shown.name} is of the service {shown.dimensions.get('service')}"
        return
    names, dimensions = AWS_METRICS.get(shown.namespace, (frozenset(), ()))
    is_storage = (shown.namespace, shown.name) == ("AWS/EFS", "StorageBytes")
    if set(shown.dimensions) != (STORAGE_BYTES if is_storage else set(dimensions)) or not (
        is_storage or shown.name in names
    ):
        yield f"{shown.namespace} has no {shown.name} by {sorted(shown.dimensions)}"
    for name, value in shown.dimensions.items():
        owner = value.strip("<>").partition(".")[0]
        if owner not in stack.plain["Resources"] and (name, value) != ("StorageClass", "Total"):
            yield f"{shown.name} is of {value}, not the stack's own"


def _grid_problems(widgets: list[dict[str, Any]]) -> list[str]:
    taken: dict[tuple[int, int], str] = {}
    problems = []
    for widget in widgets:
        title = widget["properties"]["title"]
        if widget["x"] + widget["width"] > COLUMNS:
            problems.append(f"{title} stands out")
        for x in range(widget["x"], widget["x"] + widget["width"]):
            for y in range(widget["y"], widget["y"] + widget["height"]):
                if (x, y) in taken:
                    problems.append(f"{title} lies over {taken[x, y]}")
                    return problems
                taken[x, y] = title
    return problems


def unseen_problems(stack: Stack, metrics: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What is measured is shown, what starts by itself with its errors; every alarm stands on the dashboard."""
    body = dashboard_of(stack)
    shown = [each for widget in body["widgets"] for each in shown_by(widget)]
    ours = {each.name for each in shown if each.namespace == NAMESPACE}
    # What FailedOutcomes counts is in Deliveries by reason; the alarm needs it without that dimension.
    wanted = set(metrics) - {"FailedOutcomes"} - (set() if stack.is_queued else {"Coalesced", "QueueLagSeconds"})
    problems = [f"nothing shows {name}" for name in sorted(wanted - ours)]
    problems += [f"{name} is shown, and nothing emits it here" for name in sorted(ours - wanted)]
    for measure in ("Errors", "Throttles", "Duration", "ConcurrentExecutions"):
        of = {next(iter(each.dimensions.values())).strip("<>") for each in shown if each.name == measure}
        problems += [f"nothing shows {measure} of {name}" for name in sorted(_started(stack) - of)]
    (arns,) = [widget["properties"]["alarms"] for widget in body["widgets"] if widget["type"] == "alarm"]
    listed = {arn.strip("<>").removesuffix(".Arn") for arn in arns}
    problems += [
        f"the dashboard and the stack differ by {name}"
        for name in sorted(listed ^ set(stack.of_type("AWS::CloudWatch::Alarm")))
    ]
    return problems


def free_problems(stack: Stack, metrics: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What a stack gives CloudWatch is free in an account that has nothing else there.

    `metrics` maps the names of the metrics that its functions emit to the names of their dimensions. An alarm on an
    expression counts each metric of it; a metric with a dimension of its own counts each value, of which there is no
    bound.
    """
    problems = [f"{name} is a metric for each value of {each[1:]}" for name, each in metrics.items() if len(each) > 1]
    if len(metrics) > FREE_METRICS:
        problems.append(f"{len(metrics)} metrics")
    alarms = sum(len(metrics_of(alarm)) for alarm in stack.of_type("AWS::CloudWatch::Alarm").values())
    if alarms > FREE_ALARMS:
        problems.append(f"{alarms} alarms")
    if stack.of_type("AWS::CloudWatch::Dashboard"):
        problems.append("a dashboard, of which only an account's first three are free")
    return problems


def _started(stack: Stack) -> set[str]:
    """The functions that something starts by itself: the API, a queue, a timer; not those that a person calls."""
    found = {"WebhookFunction"}
    for source in stack.of_type("AWS::Lambda::EventSourceMapping").values():
        found.add(source["Properties"]["FunctionName"]["Ref"])
    for schedule in stack.of_type("AWS::Scheduler::Schedule").values():
        found.add(schedule["Properties"]["Target"]["Arn"]["Fn::GetAtt"][0])
    return found


def pair_problems(stack: Stack, anchors: set[str], page: str = "docs/operations.md") -> list[str]:
    """Every alarm says whether it pages, tells the topic of that, and names a runbook that is there."""
    problems = []
    pages = set()
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        description = properties["AlarmDescription"]
        kind, _, _ = description.partition(":")
        topic = {"Page": "AlarmTopic", "Early": "EarlyTopic"}.get(kind)
        if topic is None:
            problems.append(f"{name} does not say whether it pages")
        elif topic not in stack.plain["Resources"]:
            topic += "Arn"
        if {action["Ref"] for action in properties["AlarmActions"]} != {topic}:
            problems.append(f"{name} tells {properties['AlarmActions']}")
        if properties.get("OKActions") != properties["AlarmActions"]:
            problems.append(f"{name} does not say when it is over")
        runbook = re.search(rf"Runbook: {re.escape(page)}#([a-z0-9-]+)$", description.strip())
        if runbook is None or runbook[1] not in anchors:
            problems.append(f"{name} has no runbook on {page}: {runbook and runbook[1]}")
        if kind == "Page":
            pages |= {metric["Namespace"] for metric in metrics_of(alarm)}
        if len(description) > 1024:
            problems.append(f"{name} says more than CloudWatch keeps")
    wanted = {NAMESPACE, "AWS/Lambda"} | ({"AWS/SQS"} if stack.is_queued else set())
    problems += [f"nothing pages for {namespace}" for namespace in sorted(wanted - pages)]
    return problems


def anchors_of(markdown: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    found: set[str] = set()
    fenced = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        if not fenced and (heading := re.match(r"#{1,6} +(.*)", line)):
            text = re.sub(r"[^\w\- ]", "", heading[1].lower())
            found.add(text.strip().replace(" ", "-"))
    return found
