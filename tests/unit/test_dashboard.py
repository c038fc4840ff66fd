"""The picture of the dashboard: every widget, real statistics, the same text for the same figures."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest

from benchmarks.dashboard.lines import lines_of
from benchmarks.dashboard.samples import Sample, samples_of, series, statistic
from testing.dashboard import dashboard_of, shown_by
from testing.process import PROJECT
from testing.stack import MODES, read_stack

BODY = dashboard_of(read_stack().under(MODES["queued"]))
TITLES = [widget["properties"]["title"] for widget in BODY["widgets"]]
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    """The texts of a picture. Raises ParseError where it is no XML."""
    return [node.text or "" for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def sample(at: float, value: float, name: str = "PushToVisibleSeconds", **dimensions: str) -> Sample:
    """A figure of ours."""
    return Sample(at, "git2efs", name, {"service": "git2efs"} | dimensions, value)


@pytest.fixture(scope="module")
def draw() -> Callable[..., str]:
    """What draws; a skip where the benchmarks' packages are not installed."""
    name, reason = "benchmarks.dashboard.draw", "needs matplotlib, of the bench group"
    function: Callable[..., str] = pytest.importorskip(name, reason=reason, exc_type=ImportError).draw
    return function


def labels(samples: list[Sample]) -> dict[str, list[str]]:
    """Return the labels of each widget's lines, by its title; widgets without a line are left out."""
    found = {
        widget["properties"]["title"]: [line.label for line in lines_of(widget, samples, 60.0)]
        for widget in BODY["widgets"]
        if widget["type"] == "metric"
    }
    return {title: names for title, names in found.items() if names}


def test_the_committed_picture_is_of_todays_dashboard() -> None:
    """After a change of the template's widgets: `python -m benchmarks.dashboard`."""
    shown = texts((PROJECT / "docs" / "dashboard.svg").read_text(encoding="utf-8"))
    assert [title for title in TITLES if title not in shown] == []
    lines = [each for widget in BODY["widgets"] if widget["type"] == "metric" for each in shown_by(widget)]
    labels = {str(each.options["label"]) for each in lines if each.namespace == "git2efs" and each.options.get("label")}
    assert sorted(labels - set(shown)) == []
    graphs = len(TITLES) - 1
    assert shown.count("measured by AWS, not in a local run") == 2, "what EFS was read and written"
    assert shown.count("60 s") == graphs - 2, "each other one has its time axis"


def test_the_committed_picture_can_be_read_on_any_page() -> None:
    """Each widget, and the head, on a ground of its own; and no date, which would make every picture another one."""
    svg = (PROJECT / "docs" / "dashboard.svg").read_text(encoding="utf-8")
    styles = [node.get("style", "") for node in ElementTree.fromstring(svg).iter(f"{SVG}path")]
    assert sum(style.startswith("fill: #ffffff; stroke: #c4ccd4") for style in styles) == len(TITLES) + 1
    assert "dc:date" not in svg


def test_the_same_figures_make_the_same_picture(draw: Callable[..., str]) -> None:
    """So that a change of it is a change of something."""
    samples = [sample(at, at / 3) for at in range(60)]
    picture = draw(BODY, samples, 60.0)
    assert draw(BODY, list(samples), 60.0) == picture
    assert draw(BODY, samples[:30], 60.0) != picture


def test_each_reason_is_a_line_of_its_own() -> None:
    """The search over outcomes and reasons shows what there is of them."""
    samples = [
        sample(1.0, 1.0, "Deliveries", outcome="published", reason="pushed"),
        sample(2.0, 1.0, "Deliveries", outcome="failed", reason="no"),
    ]
    assert labels(samples) == {"Outcomes by reason": ["failed no", "published pushed"]}


def test_hostile_names_are_only_text(draw: Callable[..., str]) -> None:
    """Neither markup nor a formula."""
    samples = [
        sample(1.0, 1.0, "Deliveries", outcome="failed", reason="<script>"),
        sample(2.0, 1.0, "Deliveries", outcome="failed", reason="$x^2$"),
    ]
    shown = texts(draw(BODY, samples, 60.0))
    assert "failed <script>" in shown
    assert "failed $x^2$" in shown


def test_what_was_not_measured_is_said(draw: Callable[..., str]) -> None:
    """A run on one machine knows nothing of EFS."""
    shown = texts(draw(BODY, [], 60.0))
    assert shown.count("measured by AWS, not in a local run") == len(TITLES) - 1
    assert [title for title in TITLES if title not in shown] == []
    assert labels([]) == {}


def test_another_stacks_figures_are_not_shown() -> None:
    """As on the dashboard."""
    assert labels([Sample(1.0, "git2efs", "PushToVisibleSeconds", {"service": "other"}, 1.0)]) == {}
    assert labels([sample(1.0, 1.0)]) == {"Push to visible, seconds": ["p50", "p99"]}


@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        ("Sum", 10.0),
        ("Average", 2.5),
        ("Maximum", 4.0),
        ("Minimum", 1.0),
        ("SampleCount", 4.0),
        ("p50", 2.0),
        ("p99", 4.0),
    ],
)
def test_statistics_are_cloudwatchs(stat: str, expected: float) -> None:
    """Of the values of one period; none of none."""
    assert statistic(stat, [3.0, 1.0, 4.0, 2.0]) == expected
    assert statistic(stat, []) is None


def test_an_unknown_statistic_is_refused() -> None:
    """Rather than drawn as something else."""
    with pytest.raises(ValueError, match="no statistic"):
        statistic("Median", [1.0])


def test_figures_fall_into_their_periods() -> None:
    """The last moment belongs to the last period."""
    assert series([sample(0.0, 1.0), sample(9.9, 2.0), sample(10.0, 3.0)], "Sum", 10.0, 2) == [1.0, 5.0]


def test_lines_of_embedded_metrics_are_figures() -> None:
    """Each value of each metric, with its dimensions; other lines are none."""
    line = {
        "_aws": {
            "Timestamp": 5_000,
            "CloudWatchMetrics": [{"Namespace": "n", "Dimensions": [["service"]], "Metrics": [{"Name": "m"}]}],
        },
        "service": "s",
        "m": [1, 2],
    }
    assert samples_of(line, 3.0) == [Sample(2.0, "n", "m", {"service": "s"}, value) for value in (1.0, 2.0)]
    assert samples_of({"message": "delivery"}, 3.0) == []
