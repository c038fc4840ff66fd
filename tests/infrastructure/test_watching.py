"""The dashboard shows what is measured, alarms lead to their runbooks, and each of these laws can be broken."""

import copy
import re
from collections.abc import Callable

import pytest

from handler.network.aws.telemetry import METRICS
from testing.dashboard import dashboard_of
from testing.stack import MODES, ROOT, Node, Stack

from . import watching

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ANCHORS = watching.anchors_of(OPERATIONS)


def dashboard_problems(stack: Stack) -> list[str]:
    """Both laws of the dashboard."""
    return watching.dashboard_problems(stack, METRICS) + watching.unseen_problems(stack, METRICS)


def pair_problems(stack: Stack) -> list[str]:
    """The law of the alarms' runbooks."""
    return watching.pair_problems(stack, ANCHORS)


def test_dashboard_shows_what_is_measured(mode: Stack) -> None:
    """A widget on a metric or a dimension that nothing emits would be empty for ever."""
    assert dashboard_problems(mode) == []


def test_alarms_page_or_warn_and_lead_to_their_runbooks(mode: Stack) -> None:
    """Whoever is woken finds what to do by the link in the message."""
    assert pair_problems(mode) == []


def test_the_queue_is_shown_only_where_there_is_one(stack: Stack) -> None:
    """In direct mode nothing of it is there to be shown."""
    for name, given in MODES.items():
        titles = [each["properties"]["title"] for each in dashboard_of(stack.under(given))["widgets"]]
        assert any(title.startswith("Queue") for title in titles) is name.startswith("queued")


def test_the_dashboard_can_be_left_out(stack: Stack) -> None:
    """It is no part of what the first three free ones of an account must go to."""
    without = stack.under({"Dashboard": "false"})
    assert without.of_type("AWS::CloudWatch::Dashboard") == {}
    assert "DashboardUrl" not in without.plain["Outputs"]


def _replace(before: str, after: str) -> Callable[[Node], None]:
    def change(resources: Node) -> None:
        body = resources["DashboardOfStack"]["Properties"]["DashboardBody"]["Fn::Sub"]
        assert before in body[0]
        body[0] = body[0].replace(before, after)

    return change


def _describe(name: str, change: Callable[[str], str]) -> Callable[[Node], None]:
    def apply(resources: Node) -> None:
        properties = resources[name]["Properties"]
        properties["AlarmDescription"] = change(properties["AlarmDescription"])

    return apply


BREAKS: dict[str, tuple[Callable[[Stack], list[str]], Callable[[Node], object]]] = {
    "a metric misspelt": (dashboard_problems, _replace('"RefsBehind"', '"Behind"')),
    "a metric left out": (
        dashboard_problems,
        _replace('["git2efs", "FilesRemoved", "service", "${AWS::StackName}", {"label": "removed"}]', '["..."]'),
    ),
    "a dimension that is not emitted": (dashboard_problems, _replace("{git2efs,service,outcome,reason}", "{git2efs}")),
    "a search for what nothing emits": (dashboard_problems, _replace('MetricName=\\"Deliveries', 'MetricName=\\"D')),
    "another stack's metrics": (dashboard_problems, _replace('"service", "${AWS::StackName}"', '"service", "other"')),
    "a metric that AWS does not have": (dashboard_problems, _replace('"Throttles"', '"Throttled"')),
    "somebody else's file system": (dashboard_problems, _replace('"${PublishedFileSystem}"', '"fs-1"')),
    "a widget over another": (dashboard_problems, _replace('"x": 8, "y": 9', '"x": 0, "y": 9')),
    "a widget outside": (dashboard_problems, _replace('"x": 16, "y": 9', '"x": 20, "y": 9')),
    "a metric without a statistic": (dashboard_problems, _replace(', "stat": "SampleCount"', "")),
    "an alarm that is not shown": (dashboard_problems, _replace(', "${ScheduleSilenceAlarm.Arn}"', "")),
    "an alarm without a runbook": (pair_problems, _describe("FailedOutcomesAlarm", lambda text: text.split("#")[0])),
    "a runbook that is not there": (pair_problems, _describe("FailedOutcomesAlarm", lambda text: text + "-x")),
    "an alarm of no kind": (pair_problems, _describe("FailedOutcomesAlarm", lambda text: text[7:])),
    "an alarm at the wrong topic": (
        pair_problems,
        lambda r: r["LastSuccessAgeAlarm"]["Properties"].update(AlarmActions=[{"Ref": "EarlyTopic"}]),
    ),
    "an alarm without an end": (
        pair_problems,
        lambda r: r["LastSuccessAgeAlarm"]["Properties"].pop("OKActions"),
    ),
    "no page at all": (pair_problems, lambda r: r.pop("LastSuccessAgeAlarm")),
}


@pytest.mark.parametrize("name", BREAKS)
def test_law_is_broken_by(stack: Stack, name: str) -> None:
    """The law holds before the change and not after it."""
    law, change = BREAKS[name]
    whole = stack.under(MODES["queued"])
    assert law(whole) == []
    plain = copy.deepcopy(whole.plain)
    change(plain["Resources"])
    assert law(Stack(source=stack.source, plain=plain)) != []


def test_what_is_measured_is_what_is_documented() -> None:
    """Each metric has its line on the page, and none is there that is not emitted."""
    section = OPERATIONS.partition("## Metrics")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == set(METRICS)


@pytest.mark.parametrize("monitoring", ["full", "alarms"])
@pytest.mark.parametrize("mode_name", ["direct", "queued"])
def test_the_number_of_alarms_on_the_bill_is_the_templates(stack: Stack, mode_name: str, monitoring: str) -> None:
    """docs/deploy.md says what they cost; an alarm on an expression is paid for each of its metrics."""
    from .laws import metrics_of

    words = {6: "six", 9: "nine", 10: "ten", 14: "fourteen", 16: "sixteen"}

    alarms = stack.under({**MODES[mode_name], "Monitoring": monitoring}).of_type("AWS::CloudWatch::Alarm").values()
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if " alarms, with a queue" in line and line.startswith("|")]
    (line,) = [line for line in lines if ("Monitoring=full" in line) is (monitoring == "full")]
    assert f"{sum(len(metrics_of(alarm)) for alarm in alarms) / 10:.2f}" in line
    told = re.match(r"\| .*?(\w+) alarms, with a queue (\w+), of which one is paid as two ", line)
    assert told
    assert told[1 + (mode_name == "queued")] == words[len(alarms)]
    if monitoring == "full":
        ours = [name for name, dimensions in METRICS.items() if dimensions == ("service",)]
        direct = len(ours) - len({"Coalesced", "QueueLagSeconds"} & set(ours))
        assert f"{words[direct]} metrics, with a queue {words[len(ours)]}, and one for each outcome and reason" in page
