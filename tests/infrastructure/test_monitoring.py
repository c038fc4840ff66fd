"""What each value of `Monitoring` gives CloudWatch: what is free by default, all of it, or no alarm at all."""

import copy
from collections.abc import Callable, Mapping

import pytest

from handler.network.aws.telemetry import FEW_METRICS, METRICS
from handler.settings import read_settings
from testing.stack import MODES, OWN_VPC, ROOT, Node, Stack

from . import laws, watching

EVERY_ALARM = {
    "FailedOutcomesAlarm",
    "LastSuccessAgeAlarm",
    "LostWebhooksAlarm",
    "FunctionErrorsAlarm",
    "FunctionThrottlesAlarm",
    "ApiServerErrorsAlarm",
    "ScheduleErrorsAlarm",
    "ScheduleDurationAlarm",
    "OperateErrorsAlarm",
    "ScheduleSilenceAlarm",
}
EVERY_QUEUE_ALARM = {"WorkerErrorsAlarm", "QueueAgeEarlyAlarm", "QueueAgeAlarm", "DeadLettersAlarm"}
"""The alarms of before there was a choice."""

TOLD_BY_ANOTHER = {
    "FunctionErrorsAlarm",
    "FunctionThrottlesAlarm",
    "ScheduleDurationAlarm",
    "OperateErrorsAlarm",
    "QueueAgeEarlyAlarm",
}
"""What the default leaves out."""


@pytest.fixture(params=MODES)
def shape(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The parameters of each mode, but for what it monitors."""
    return {name: value for name, value in MODES[request.param].items() if name not in ("Monitoring", "Dashboard")}


def emitted_by(stack: Stack) -> Mapping[str, tuple[str, ...]]:
    """Return the metrics that the functions of a stack emit, with their dimensions."""
    answers = {read_settings(stack.resolve(stack.environment(name))).all_metrics for name, _ in stack.functions()}
    (is_everything,) = answers
    return {name: METRICS[name] for name in (METRICS if is_everything else FEW_METRICS)}


def free_problems(stack: Stack) -> list[str]:
    """The law of what costs nothing."""
    return watching.free_problems(stack, emitted_by(stack))


def alarm_problems(stack: Stack) -> list[str]:
    """The law of the alarms, against what these functions emit."""
    return laws.alarm_problems(stack, emitted_by(stack))


def test_the_default_stays_within_what_is_free(stack: Stack, shape: Mapping[str, str]) -> None:
    """No value of it is given: ten metrics and ten alarms at most, and no dashboard."""
    assert stack.parameters["Monitoring"]["Default"] == "alarms"
    by_default = stack.under({**shape, "Monitoring": "alarms", "Dashboard": "true"})
    assert free_problems(by_default) == []


def test_the_default_tells_whoever_deployed_that_publishing_fails(stack: Stack, shape: Mapping[str, str]) -> None:
    """Every alarm but those whose cause another one tells: the API's errors those of the webhook."""
    by_default = stack.under({**shape, "Monitoring": "alarms"})
    queue = EVERY_QUEUE_ALARM if by_default.is_queued else set()
    alarms = by_default.of_type("AWS::CloudWatch::Alarm")
    assert set(alarms) == (EVERY_ALARM | queue) - TOLD_BY_ANOTHER
    assert alarm_problems(by_default) == []
    anchors = watching.anchors_of((ROOT / "docs" / "operations.md").read_text(encoding="utf-8"))
    assert watching.pair_problems(by_default, anchors) == []
    assert laws.watch_problems(by_default) == [
        "nothing watches Errors of OperateFunction",
        "nothing watches Errors of WebhookFunction",
    ]
    (errors,) = laws.metrics_of(alarms["ApiServerErrorsAlarm"])
    assert (errors["Namespace"], errors["MetricName"]) == ("AWS/ApiGateway", "5xx")


def test_full_is_what_it_was(stack: Stack, shape: Mapping[str, str]) -> None:
    """Every metric, every alarm, and the dashboard where it is wanted."""
    full = stack.under({**shape, "Monitoring": "full", "Dashboard": "true"})
    assert emitted_by(full) == METRICS
    assert set(full.of_type("AWS::CloudWatch::Alarm")) == EVERY_ALARM | (EVERY_QUEUE_ALARM if full.is_queued else set())
    assert len(full.of_type("AWS::CloudWatch::Dashboard")) == 1
    assert alarm_problems(full) == []


def test_none_makes_neither_alarm_nor_dashboard(stack: Stack, shape: Mapping[str, str]) -> None:
    """Nor a topic, nor an address that would have to confirm it."""
    none = stack.under({**shape, "Monitoring": "none", "Dashboard": "true", "AlarmEmail": "a@example.com"})
    assert not none.of_type("AWS::CloudWatch::")
    assert not none.of_type("AWS::SNS::")
    assert not {"AlarmTopicArn", "EarlyTopicArn", "DashboardUrl"} & set(none.plain["Outputs"])
    assert set(emitted_by(none)) == FEW_METRICS


def test_addresses_are_subscribed_where_there_are_alarms(stack: Stack, shape: Mapping[str, str]) -> None:
    """Both topics, by default too. Those that somebody brought are subscribed by whom they belong to."""
    told = stack.under({**shape, "Monitoring": "alarms", "AlarmEmail": "a@example.com"})
    made = 0 if shape["AlarmTopicArn"] else 2
    assert len(told.of_type("AWS::SNS::Subscription")) == len(told.of_type("AWS::SNS::Topic")) == made


def _one_more(resources: Node) -> None:
    resources["OneMoreAlarm"] = copy.deepcopy(resources["FailedOutcomesAlarm"])


def _all_metrics(resources: Node) -> None:
    for resource in resources.values():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Environment"]["Variables"]["GIT2EFS_ALL_METRICS"] = "true"


def _dashboard(resources: Node) -> None:
    resources["DashboardOfStack"] = {"Type": "AWS::CloudWatch::Dashboard", "Properties": {}}


def _watch_what_is_left_out(resources: Node) -> None:
    resources["FailedOutcomesAlarm"]["Properties"]["MetricName"] = "RepositoriesFailing"


BREAKS: dict[str, tuple[Callable[[Stack], list[str]], Callable[[Node], None]]] = {
    "an eleventh alarm": (free_problems, _one_more),
    "every metric": (free_problems, _all_metrics),
    "a dashboard": (free_problems, _dashboard),
    "an alarm on a metric that only full emits": (alarm_problems, _watch_what_is_left_out),
}


@pytest.mark.parametrize("name", BREAKS)
def test_law_is_broken_by(stack: Stack, name: str) -> None:
    """The law holds before the change and not after it."""
    law, change = BREAKS[name]
    whole = stack.under({**MODES["queued"], "Monitoring": "alarms"})
    assert law(whole) == []
    plain = copy.deepcopy(whole.plain)
    change(plain["Resources"])
    assert law(Stack(source=stack.source, plain=plain)) != []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"Monitoring": "full"}, {"Monitoring": "alarms"}),
        ({"MountPath": "/mnt/ab", "EventBus": "c"}, {"MountPath": "/mnt/a", "EventBus": "bc"}),
        ({"MountPath": "/mnt/ab", "AllowedHosts": "c.org"}, {"MountPath": "/mnt/a", "AllowedHosts": "bc.org"}),
        ({"MemorySize": "10240", "TimeoutSeconds": "120"}, {"MemorySize": "1024", "TimeoutSeconds": "0120"}),
    ],
)
def test_a_version_tells_values_apart_that_run_together(
    stack: Stack, one: Mapping[str, str], other: Mapping[str, str]
) -> None:
    """With a mount there is no room for blanks: the order of the parameters ends each of them."""
    shape = OWN_VPC | {"Publisher": "inline", "Delivery": "direct"}
    description = stack.plain["Resources"]["WebhookFunction"]["Properties"]["Description"]
    assert stack.resolve(description, {**shape, **one}) != stack.resolve(description, {**shape, **other})
